from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.reports.wording import counted, enumerated, interval, interval_column, listed, number, plain, sentence
from ioi_lab.stats.bootstrap import Estimate

KNOWN = Estimate(np.array([0.5, -0.928]), np.array([0.25, -0.953]), np.array([0.75, -0.899]))
UNKNOWN = Estimate(np.array([0.5]), np.array([np.nan]), np.array([np.nan]))


@pytest.mark.parametrize(("value", "text"), [(-1.5, "−1.5"), (2.0, "2"), (0.0, "0"), (1e-5, "1e−05")])
def test_numbers_have_no_trailing_zeros_and_a_minus_sign(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 prompts"), (1, "1 prompt"), (3, "3 prompts")])
def test_counts_agree_with_their_noun(count, text):
    assert counted(count, "prompt") == text


def test_intervals_are_in_brackets():
    assert interval(KNOWN) == "0.50 [0.25, 0.75]"
    assert interval(KNOWN, 1) == "-0.93 [-0.95, -0.90]"
    assert interval(KNOWN, form=".0f", factor=100) == "50 [25, 75]"
    assert interval(Estimate(np.array([-0.001]), np.array([-0.02]), np.array([0.004]))) == "0.00 [-0.02, 0.00]"
    assert interval_column(KNOWN, 0) == "  0.500   [0.250, 0.750]"
    assert interval_column(KNOWN, 1) == " -0.928   [-0.953, -0.899]"


def test_small_numbers_are_not_shown_as_0():
    small = Estimate(np.array([0.00042, 0.0, 3e-9]), np.array([0.0002, 0.0, 1e-9]), np.array([0.0006, 0.0, 5e-9]))
    assert interval(small) == "0.0004 [0.0002, 0.0006]"
    assert interval(small, factor=-100) == "-0.04 [-0.02, -0.06]"
    assert interval(small, 1) == interval(small, 2) == "0.00 [0.00, 0.00]"


def test_unknown_intervals_are_left_out():
    assert interval(UNKNOWN) == "0.50"
    assert interval_column(UNKNOWN, 0) == "  0.500"


def test_a_row_of_a_column_has_its_interval_if_that_is_known():
    partly = Estimate.joined([KNOWN, UNKNOWN])
    assert interval(partly) == "0.50 [0.25, 0.75]"
    assert interval_column(partly, 0) == "  0.500   [0.250, 0.750]"
    assert interval_column(partly, len(KNOWN.value)) == "  0.500"


def test_long_lists_end_with_the_number_of_the_rest():
    assert listed(["9.9", "9.6"], 2) == "9.9, 9.6"
    assert listed(["9.9", "9.6", "10.0", "9.0", "8.1"], 2) == "9.9, 9.6 and 3 more"


def test_names_of_config_values_become_words():
    assert plain("mean_by_position") == "mean by position"


def test_lines_of_the_terminal_become_sentences():
    assert sentence("warning: no effect beyond chance:") == "No effect beyond chance."
    assert sentence("tiny-gpt2 is steered") == "tiny-gpt2 is steered."
    assert sentence("Is it?") == "Is it?"


def test_names_are_enumerated():
    assert [enumerated(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none", "a", "a and b", "a, b and c",
    ]  # fmt: skip
