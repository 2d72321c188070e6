"""The table, figures and files of circuits across tasks."""

from __future__ import annotations

import json

import pytest

from ioi_lab.circuits.files import CircuitFile
from tests.interventions.toy import CONTEXT

OTHER = "ioi"


@pytest.fixture(scope="module")
def report(intervention, result):
    return intervention.report(result, CONTEXT)


def test_the_table_has_a_row_for_each_circuit_and_task(report, result):
    table = report.table.set_index(["circuit", "task"])
    assert list(table.index) == [(a, b) for a in (CONTEXT.task, OTHER) for b in (CONTEXT.task, OTHER)]
    cell = table.loc[OTHER, CONTEXT.task]
    assert cell["faithfulness"] == result.on[0].faithfulness.value[1]
    assert cell["specificity"] == result.specificity[0].value[1]
    assert cell["random"] == pytest.approx(result.on[0].random[1].mean())
    assert cell["random_low"] <= cell["random"] <= cell["random_high"]
    assert cell["edges"] == result.n_edges[1]
    assert cell["shared_edges"] == result.n_shared[0, 1]
    assert report.metrics["mean_specificity"] == pytest.approx(table["specificity"].mean())
    assert set(report.prompts["task"]) == {CONTEXT.task, OTHER}
    assert len(report.prompts) == sum(len(on.baselines.prompts) for on in result.on)


def test_the_sentences_name_both_tasks(report):
    baseline, first, second, *_ = report.summary
    assert baseline.startswith(f"{OTHER}: logit difference ")
    assert baseline.endswith("accuracy 1.00")
    assert first.startswith(f"the circuit of {CONTEXT.task}, ")
    assert second.startswith(f"  on {OTHER}: f = ")
    assert "specific to its task" in second
    assert len(report.summary) == 5


def test_the_matrix_and_the_specificity_are_drawn(report, result):
    figures = report.draw()
    assert list(figures) == ["faithfulness_across_tasks", "specificity"]
    drawn = figures["faithfulness_across_tasks"].axes[0].images[0].get_array()
    assert drawn[1][0] == pytest.approx(result.on[0].faithfulness.value[1])
    assert [label.get_text() for label in figures["specificity"].axes[0].get_yticklabels()] == [
        f"{CONTEXT.task} → {OTHER}",
        f"{OTHER} → {CONTEXT.task}",
    ]


def test_each_circuit_is_a_file_that_other_runs_read(report, result, tmp_path):
    for number, content in enumerate(report.files[f"circuit_{number}.json"] for number in range(2)):
        (tmp_path / "circuit.json").write_bytes(content)
        file = CircuitFile.read(tmp_path / "circuit.json", "intervention.from_run")
        assert (file.circuit_in(result.graph, "x") == result.circuits[number]).all()
    assert json.loads(report.files["circuit_1.json"])["description"].endswith(OTHER)
