from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.circuit.keys import CircuitKeys


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"search": "acdc"}, "intervention.tau: got null, but search=acdc; expected a number above 0"),
        ({"tau": 0.1}, "intervention.tau: got 0.1, but search=topn; expected null, or another search"),
        ({"search": "threshold"}, "intervention.threshold: got null, but search=threshold; expected "),
        ({"threshold": 0.1}, "intervention.threshold: got 0.1, but search=topn; expected null, or another search"),
        (
            {"search": "acdc", "tau": 1, "size": 9},
            "intervention.size: got 9.0, but search=acdc finds its size; expected",
        ),
        ({"nodes": "heads_and_mlps", "search": "greedy"}, "intervention.nodes: got 'heads_and_mlps', but search=gre"),
        ({"objective": "kl", "scores": ["exact", "eap"]}, "intervention.objective: got 'kl', whose gradient in the "),
        ({"scores": []}, "intervention.scores: got "),
        ({"eval_share": 1}, "intervention.eval_share: got 1, "),
        ({"controls": 9}, "intervention.controls: got 9, "),
        ({"ig_steps": 0}, "intervention.ig_steps: got 0, "),
        ({"search": "acdc", "tau": 0}, "intervention.tau: got 0, "),
        ({"ablation": "resampled"}, "intervention.ablation: got 'resampled', "),
        ({"only": {"layers": 3}}, "intervention.only.layers: "),
    ],
)
def test_keys_that_do_not_fit_are_named(changes, line):
    with pytest.raises(LabError) as error:
        CircuitKeys.from_config(changes, "intervention")
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_a_threshold_is_asked_for_as_what_it_is():
    """It is compared with scores, which may be negative, unlike τ."""
    with pytest.raises(LabError, match=r"search=threshold; expected a number$"):
        CircuitKeys.from_config({"search": "threshold"}, "intervention")


def test_unknown_scores_are_named_with_those_there_are():
    keys = CircuitKeys.from_config({"scores": ["eap", "eap_ig"]}, "intervention")
    with pytest.raises(LabError, match=r"^intervention\.scores: got 'eap_ig', expected 'exact', 'eap', "):
        keys.check()


def test_each_method_counts_once():
    assert CircuitKeys(scores="eap").methods == ["eap"]
    assert CircuitKeys(scores=["eap", "exact", "eap"]).methods == ["eap", "exact"]
