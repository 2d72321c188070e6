"""The report of transfer joins the reports of its directions, and notes what holds of both."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest

from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.interventions.transfer.head_report import HeadSwapReport
from ioi_lab.interventions.transfer.measure import TransferResult
from ioi_lab.interventions.transfer.report import transfer_report
from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from tests.interventions.toy import CONTEXT, ToyEngine
from tests.interventions.transfer.conftest import measured_vectors

PROVENANCE = {"name": "tiny-gpt2", "revision": None}
THROUGH = "through a ridge map fitted on some text"


@pytest.fixture(scope="module")
def vector_result(tiny_models):
    _, result, _ = measured_vectors(tiny_models, "maps")
    return result


def transfer(forward, both=True, **changes):
    """The result of both directions, of which the backward one has the numbers of the forward one."""
    backward = replace(forward, source=forward.target, target=forward.source) if both else None
    result = {
        "baselines": Baselines.measure(ToyEngine()),
        "checks": SelfChecks(1.0, 0.0),
        "forward": forward,
        "backward": backward,
        "n_dropped_prompts": 0,
        "names_differ": True,
        "map_title": "ridge map fitted on some text",
        "head_map": None,
        "other_map": None,
        "new_maps_file": None,
        "is_one_model": False,
        "largest_distance_from_identity": None,
        "source_model": PROVENANCE,
    }
    return TransferResult(**result | changes)


def test_both_directions_are_in_one_table_and_their_metrics_have_prefixes(vector_result):
    result = transfer(vector_result)
    report = transfer_report(result, CONTEXT)
    parts = [VectorTransferReport(direction, THROUGH, CONTEXT) for direction in (result.forward, result.backward)]
    pd.testing.assert_frame_equal(report.table, pd.concat([part.table() for part in parts], ignore_index=True))
    assert list(dict.fromkeys(report.table["direction"])) == ["tiny-gpt2 → tiny-pythia", "tiny-pythia → tiny-gpt2"]
    own = parts[0].metrics()
    assert report.metrics == {f"{way}_{name}": value for way in ("forward", "backward") for name, value in own.items()}
    assert report.summary == parts[0].summary() + parts[1].summary()
    assert report.provenance == {"source_model": PROVENANCE}


def test_one_direction_alone_is_the_forward_one(vector_result):
    report = transfer_report(transfer(vector_result, both=False), CONTEXT)
    assert all(name.startswith("forward_") for name in report.metrics)
    assert set(report.table["direction"]) == {"tiny-gpt2 → tiny-pythia"}
    assert set(report.draw()) == {
        f"{name}_forward" for name in ("effect_by_scale", "slopes_and_controls", "slopes_by_layers")
    }


def test_the_report_of_heads_is_that_of_swapped_heads(heads):
    _, result, _ = heads
    report = transfer_report(transfer(result), CONTEXT)
    assert report.headline == "forward_share_beyond_mean"
    assert report.summary[: len(report.summary) // 2] == HeadSwapReport(result, THROUGH, CONTEXT).summary()
    assert report.metrics[report.headline] == result.share_beyond_mean.value[0]
    assert set(report.draw()) == {
        f"{name}_{way}"
        for name in ("recovery_in_its_place", "recovery_by_source_head", "recovery_by_pair", "pairs_and_controls")
        for way in ("forward", "backward")
    }


def test_the_headline_of_vectors_is_their_share_of_the_native_effect(vector_result):
    report = transfer_report(transfer(vector_result), CONTEXT)
    assert report.headline == "forward_share_of_native"
    assert report.metrics[report.headline] == vector_result.slopes.share.value[0]


@pytest.mark.parametrize(
    ("title", "words"), [("ridge map", "through a ridge map"), (None, "through the tokens that both have")]
)
def test_figures_name_the_route(vector_result, title, words):
    figures = transfer_report(transfer(vector_result, both=False, map_title=title), CONTEXT).draw()
    for figure in figures.values():
        assert words in " ".join(figure.get_suptitle().split())


def test_only_maps_that_were_fitted_are_left_as_a_file(vector_result):
    assert "maps.safetensors" not in transfer_report(transfer(vector_result), CONTEXT).files
    report = transfer_report(transfer(vector_result, new_maps_file=b"maps"), CONTEXT)
    assert report.files["maps.safetensors"] == b"maps"


def test_the_values_of_prompts_are_numbered_like_the_rows_of_the_table(vector_result):
    report = transfer_report(transfer(vector_result), CONTEXT)
    values = pd.read_parquet(BytesIO(report.files["per_prompt.parquet"]))
    means = values.groupby("row")["logit_diff"].mean()
    assert means.index.tolist() == list(range(len(report.table)))
    assert means.to_numpy() == pytest.approx(report.table["logit_diff"].to_numpy())
    assert set(values["prompt"]) == set(range(vector_result.n_prompts))


def test_slopes_of_both_directions_are_in_one_table(vector_result, heads):
    report = transfer_report(transfer(vector_result), CONTEXT)
    table = pd.read_csv(BytesIO(report.files["slopes.csv"]))
    assert table.groupby("direction").size().tolist() == [len(vector_result.slopes.rows.names)] * 2
    assert "slopes.csv" not in transfer_report(transfer(heads[1]), CONTEXT).files


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({}, []),
        (
            {"n_dropped_prompts": 3},
            ["left out: 3 prompts with names that are in both halves, or that are not single tokens in tiny-gpt2"],
        ),
        (
            {"is_one_model": True},
            ["note: source and target are the same model: maps between equal layers should be near the identity"],
        ),
        (
            {"is_one_model": True, "largest_distance_from_identity": 0.01234},
            [
                "note: source and target are the same model: maps between equal layers should be near the identity; "
                "they differ from it by at most 0.012 of its norm"
            ],
        ),
        ({"largest_distance_from_identity": 0.01234}, []),
    ],
)
def test_notes_come_before_the_directions(vector_result, changes, notes):
    lines = transfer_report(transfer(vector_result, both=False, **changes), CONTEXT).summary
    assert lines == [*notes, *VectorTransferReport(vector_result, THROUGH, CONTEXT).summary()]


@pytest.mark.parametrize("names_differ", [True, False])
def test_the_same_names_in_both_halves_are_a_limit(vector_result, names_differ):
    limits = transfer_report(transfer(vector_result, names_differ=names_differ), CONTEXT).limits
    assert any("same names as the training prompts" in limit for limit in limits) != names_differ


@pytest.mark.parametrize(
    ("head_map", "terms"),
    [
        ("stream", ["Maps between models"]),
        ("outputs", ["Maps of heads' outputs"]),
        ("stitched", ["Maps of heads' outputs", "Maps trained by stitching"]),
    ],
)
def test_the_methods_are_those_of_the_maps_that_heads_go_through(heads, head_map, terms):
    methods = transfer_report(transfer(heads[1], head_map=head_map), CONTEXT).methods
    assert [method.term for method in methods if method.term.startswith("Maps")] == terms
    assert "When the function of a head comes over" in [method.term for method in methods]
