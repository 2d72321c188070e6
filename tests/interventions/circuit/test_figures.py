from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from ioi_lab.interventions.circuit.figures import figures_of, method_name
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("tiny-gpt2", "ioi (s2)")


@pytest.fixture(scope="module")
def figures(result):
    yield figures_of(result, CONTEXT)
    plt.close("all")


def words(figure):
    """All text of a figure."""
    texts = [text.get_text() for text in figure.findobj(plt.Text)]
    return " ".join(" ".join(texts).split())


def test_figures_are_there_that_say_something(result, figures):
    assert {"circuit", "faithfulness", "method_agreement", "circuit_overlap"} <= set(figures)
    one = replace(result, scores={"eap_ig_inputs": result.scores["eap_ig_inputs"]}, curves=result.curves[:2])
    assert not {"method_agreement", "circuit_overlap"} & set(figures_of(one, CONTEXT))


def test_titles_give_the_circuit_and_its_prompts(result, figures):
    f = result.first.curve.faithfulness.value[result.chosen]
    title = f"Circuit by EAP-IG (inputs), absolute scores {result.circuit.sum()} of 479 edges, faithfulness {f:.2f}"
    assert title in words(figures["circuit"])
    assert f"{len(result.split.evaluation)} prompts, other names than those of discovery" in words(figures["circuit"])
    assert f"{len(result.split.discovery)} prompts" in words(figures["method_agreement"])


def test_the_curve_shows_methods_random_rankings_and_chance(result, figures):
    text = words(figures["faithfulness"])
    for name in ("EAP-IG (inputs)", "EAP", "10 random rankings", "0.5: logit difference 0, chance"):
        assert name in text
    keys = result.keys.model_copy(update={"ablation": "zero"})
    assert "chance" not in words(figures_of(replace(result, keys=keys), CONTEXT)["faithfulness"])


def test_methods_have_the_names_of_papers():
    assert method_name("eap_ig_activations") == "EAP-IG (activations)"
    assert method_name("mine") == "mine"
