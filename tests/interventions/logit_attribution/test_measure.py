"""The result of logit attribution, against the direct effects that it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.logit_attribution.measure import Term, measure_logit_attribution, terms_of
from ioi_lab.lenses.direct import direct_effects
from tests.conftest import ioi_task


def test_a_result_ranks_the_terms_of_the_pass(model):
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))
    result = measure_logit_attribution(engine, "corrupted")
    expected = direct_effects(engine, "corrupted")
    rows = dict(zip(result.terms, result.direct_effect.value.tolist(), strict=True))
    assert rows[Term("embed")] == pytest.approx(expected.difference.embedding.mean())
    assert rows[Term("z", 1, 2)] == pytest.approx(expected.difference.heads[1, 2].mean())
    assert rows[Term("attn_bias", 1)] == pytest.approx(expected.difference.attention_bias[1].mean())
    assert rows[Term("mlp_out", 0)] == pytest.approx(expected.difference.mlps[0].mean())
    assert rows[Term("constant")] == pytest.approx(expected.difference.constant.mean())
    by_head = result.direct_effect.value[result.head_rows]
    assert by_head == pytest.approx(expected.difference.heads.mean(axis=-1))
    assert result.sum_of_terms == pytest.approx(result.logit_diff, abs=1e-3)
    sizes = np.abs(result.direct_effect.value)[result.ranking]
    assert (np.diff(sizes) <= 0).all()
    assert np.abs(by_head).max() == pytest.approx(abs(result.direct_effect.value[result.strongest_head]))
    assert result.checks.everything == pytest.approx(1, abs=1e-3)


def test_terms_go_through_the_layers_in_order():
    assert terms_of(1, 2) == [
        Term("embed"), Term("z", 0, 0), Term("z", 0, 1), Term("attn_bias", 0), Term("mlp_out", 0), Term("constant"),
    ]  # fmt: skip
