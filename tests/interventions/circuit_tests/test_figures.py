from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from ioi_lab.interventions.circuit_tests.figures import figures_of
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("a model", "a task")


@pytest.fixture(scope="module")
def figures(right):
    yield figures_of(right, CONTEXT)
    plt.close("all")


def ticks(figure):
    return [tick.get_text().replace("\n", " ") for tick in figure.axes[0].get_yticklabels()]


def test_there_are_five(figures, right):
    assert list(figures) == ["random_circuits", "minimality", "ablations", "inclusion", "completeness"]
    assert list(figures_of(replace(right, completeness=[]), CONTEXT)) == list(figures)[:-1]


def test_random_circuits_stand_next_to_the_circuit(figures, right):
    assert ticks(figures["random_circuits"]) == [
        "the circuit",
        "the model without it",
        "random edges",
        "random edges of the same classes",
        "random paths",
        "the model without random edges",
        "the model without random edges of the same classes",
    ]
    drawn = figures["random_circuits"].axes[0].collections
    assert len(drawn[-1].get_offsets()) == len(right.necessity[1].random)


def test_edges_are_named(figures, right):
    names = right.subject.graph.names
    tested = {names[edge] for edge in right.minimality.edges}
    assert set(ticks(figures["minimality"])) == tested
    assert "5 weakest of 5 edges" in figures["minimality"].get_suptitle().replace("\n", " ")
    assert set(ticks(figures["inclusion"])) >= tested


def test_ablations_are_a_map(figures):
    assert ticks(figures["ablations"]) == ["corrupted", "mean", "mean by position", "zero", "resample"]
