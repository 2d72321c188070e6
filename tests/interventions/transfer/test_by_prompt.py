"""`per_prompt.parquet` of both directions, numbered like `results.csv`."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from ioi_lab.interventions.transfer.by_prompt import ByPrompt, joined_file
from ioi_lab.reports.report import PER_PROMPT
from ioi_lab.stats.metrics import Readout


def test_rows_of_both_directions_follow_one_another():
    forward = ByPrompt(Readout(np.array([[1.0, 2.0], [3.0, 4.0]])), np.array([5.0, 6.0]), np.array([7.0, 8.0]))
    backward = ByPrompt(Readout(np.array([[9.0, 10.0]])), np.array([11.0, 12.0]), np.array([13.0, 14.0]))
    file = joined_file([forward, backward])
    table = pd.read_parquet(BytesIO(file[PER_PROMPT]))
    assert table["row"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["prompt"].tolist() == [0, 1, 0, 1, 0, 1]
    assert table["logit_diff"].tolist() == [1, 2, 3, 4, 9, 10]
    assert table["clean_logit_diff"].tolist() == [5, 6, 5, 6, 11, 12]
    assert table["corrupted_logit_diff"].tolist() == [7, 8, 7, 8, 13, 14]


@pytest.mark.long
def test_the_values_are_those_of_an_engine(vectors):
    transfer, result, _ = vectors
    engine = transfer.target.on_prompts.held_out
    assert result.by_prompt.clean.tolist() == engine.baseline("clean").logit_diff[0].tolist()
    assert result.by_prompt.corrupted.tolist() == engine.baseline("corrupted").logit_diff[0].tolist()
