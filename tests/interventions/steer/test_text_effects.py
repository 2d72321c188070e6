from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.steer.text_effects import _largest_rises
from ioi_lab.stats.responses import LinearRange


def test_effects_on_text_are_those_of_the_best_site(result):
    text = result.text
    assert text.sites == [1]
    change = text.estimates["text_loss_change"].value
    assert text.steered_loss == pytest.approx(text.loss + change[1])
    linear = result.responses[1].linear_scales
    inside = [change[row] for row, scale in enumerate(result.scales) if linear[0] <= scale <= linear[-1]]
    assert text.largest_rise == pytest.approx([max(0.0, *inside)])


def test_without_a_linear_range_there_is_no_largest_rise_within_it(result):
    response = result.responses[1]
    bent = replace(response, linear=LinearRange(response.linear.first, response.linear.last, 0.5))
    change = result.text.estimates["text_loss_change"]
    assert np.isnan(_largest_rises(change, [bent], np.array(result.scales))).all()
