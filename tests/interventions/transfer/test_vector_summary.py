"""The sentences about transferred vectors: they state no more than the result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.transfer.vector_summary import summary_lines, uncertainty, verdict, verdict_sentences
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.transfer.vectors import SHIFT


def estimate(value, low, high):
    return Estimate(*(np.array([part]) for part in (value, low, high)))


def with_verdict(result, *, comes_over):
    """The result with slopes that exceed every control, or none of the unrelated directions."""
    margin = estimate(1.0, 0.5, 1.5) if comes_over else estimate(0.2, -0.5, 1.0)
    unrelated = [replace(kind, margin=margin) for kind in result.slopes.unrelated]
    slopes = replace(
        result.slopes,
        native=estimate(8.0, 7.0, 9.0),
        carried=estimate(4.0, 3.0, 5.0),
        beats_controls=True,
        unrelated=unrelated,
        mismatched=replace(result.slopes.mismatched, margin=estimate(1.0, 0.5, 1.5)),
        unbeaten=[] if comes_over else [kind.noun for kind in unrelated],
    )
    return replace(result, slopes=slopes)


def test_an_effect_that_exceeds_every_control_transfers(vectors):
    lines = summary_lines(with_verdict(vectors[1], comes_over=True))
    assert lines[-1].endswith("steeper than every kind of control: its effect transfers")
    assert any("share of the native slope: " in line for line in lines)


def test_controls_that_are_not_exceeded_are_named(vectors):
    result = with_verdict(vectors[1], comes_over=False)
    assert verdict(result) == (
        "no transfer has been shown: the carried vector is not clearly steeper than 97.5 % of 40 differences of "
        "training prompts, 97.5 % of 40 other pairs of names"
    )
    text = "\n".join(summary_lines(result))
    assert "its effect transfers" not in text
    assert "share of the native" not in text
    assert "ratio to the native slope" in text
    changes = {"unbeaten": [result.drawn.noun, SHIFT], "out_of_reach": []}
    slopes = replace(result.slopes, **changes, beats_controls=False)
    assert verdict(replace(result, slopes=slopes)).endswith(f"than each of 5 {result.drawn.noun}, the mean shift")


def test_controls_that_the_native_vector_does_not_exceed_either_are_named_as_such(vectors):
    result = with_verdict(vectors[1], comes_over=False)
    changes = {"unbeaten": [result.drawn.noun, SHIFT], "native_at_carried_norm": estimate(3.35, 2.0, 4.5)}
    slopes = replace(result.slopes, **changes, beats_controls=False, out_of_reach=[result.drawn.noun])
    assert verdict(replace(result, slopes=slopes)).endswith(
        f"; at its norm, tiny-pythia's own vector (3.35 [2.00, 4.50]) is not clearly steeper than each of 5 "
        f"{result.drawn.noun} either, so that these controls do not show whether anything comes over"
    )
    beaten = replace(slopes, unbeaten=[SHIFT])
    assert "either" not in verdict(replace(result, slopes=beaten))
    assert any(
        "tiny-pythia's own vector at this norm: 3.35" in line for line in summary_lines(replace(result, slopes=beaten))
    )


def test_without_intervals_nothing_is_claimed(vectors):
    result = with_verdict(vectors[1], comes_over=True)
    slopes = replace(result.slopes, carried=estimate(4.0, np.nan, np.nan))
    assert verdict(replace(result, slopes=slopes)) == (
        "no transfer has been shown: there are no intervals (with fewer than 8 held-out prompts)"
    )


def test_a_slope_that_may_be_0_is_not_a_transfer(vectors):
    result = with_verdict(vectors[1], comes_over=True)
    slopes = replace(result.slopes, carried=estimate(0.1, -0.1, 0.3))
    assert verdict(replace(result, slopes=slopes)).endswith("the carried vector's slope is not clearly above 0")


def test_no_share_is_printed_of_a_native_effect_that_is_not_there(vectors):
    result = with_verdict(vectors[1], comes_over=True)
    result = replace(result, slopes=replace(result.slopes, native=estimate(0.1, -0.1, 0.3)))
    text = "\n".join(summary_lines(result))
    assert "there is no native effect to have a share of" in text
    assert "share of the native" not in text
    assert "ratio to the native" not in text


@pytest.mark.parametrize("n_prompts", [16])
def test_what_intervals_leave_out_is_said(vectors, n_prompts):
    line = uncertainty(vectors[1])
    assert "held-out prompts and, by 50 refits, over the training prompts" in line
    what = "the layers" if vectors[1].map_r2 is None else "the map and the layers"
    assert line.endswith(f"; {what} are taken as given")


def test_each_kind_of_unrelated_directions_has_a_line_with_its_quantile_and_rank(vectors):
    result = vectors[1]
    lines = summary_lines(result)
    for kind in result.slopes.unrelated:
        (line,) = (line for line in lines if line.startswith(f"  40 {kind.noun} by the same route"))
        assert f"{kind.quantile:.2f}, rank of the carried vector {kind.rank} of 41" in line


def test_other_concepts_and_the_agreement_of_prompts_have_lines(vectors):
    result = with_verdict(vectors[1], comes_over=True)
    steers = replace(result.slopes.mismatched, slope=estimate(0.4, 0.1, 0.7), share=estimate(0.05, 0.01, 0.09))
    lines = summary_lines(replace(result, slopes=replace(result.slopes, mismatched=steers)))
    (line,) = (line for line in lines if line.startswith("  another concept, the vector of answer position"))
    assert "slope 0.40 [0.10, 0.70] (differs from 0, 5 [1, 9] % of the native one)" in line
    (line,) = (line for line in lines if line.startswith("  prompt by prompt: correlation"))
    assert f"{result.agreement.carried.correlation.value[0]:.2f}" in line
    unbeaten = replace(
        result.slopes, unbeaten=["answer_position"], mismatched=replace(steers, margin=estimate(0, -1, 1))
    )
    assert verdict(replace(result, slopes=unbeaten)).endswith("not clearly steeper than the vector of answer position")


def test_the_report_says_how_much_came_over(vectors):
    text = verdict_sentences(with_verdict(vectors[1], comes_over=True))
    assert "% of the native slope, and" in text
    assert "Prompt by prompt, its effects have a correlation of" in text
    slopes = replace(with_verdict(vectors[1], comes_over=True).slopes, native=estimate(0.1, -0.1, 0.3))
    assert "nothing to have a share of" in verdict_sentences(replace(vectors[1], slopes=slopes))
