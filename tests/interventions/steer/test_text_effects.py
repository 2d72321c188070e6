from __future__ import annotations

import pytest


def test_effects_on_text_are_those_of_the_best_site(result):
    text = result.text
    assert text.sites == [1]
    change = text.estimates["text_loss_change"].value
    assert text.steered_loss == pytest.approx(text.loss + change[1])
    linear = result.responses[1].linear_scales
    inside = [change[row] for row, scale in enumerate(result.scales) if linear[0] <= scale <= linear[-1]]
    assert text.largest_rise == pytest.approx([max(0.0, *inside)])
