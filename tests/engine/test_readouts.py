"""Readouts against numpy, and the sites at which activations stop being finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.passes import BatchResult
from ioi_lab.engine.readouts import read_into
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Readout
from tests.conftest import hugging_face, ioi_task
from tests.engine.helpers import other_model
from tests.engine.toy import PROMPTS, bucket


@pytest.mark.parametrize("readout", ["full", "logit_diff"])
def test_the_first_site_that_is_not_finite_is_named(setups, readout):
    model, _, prompts = setups["tiny-gpt2"]
    explosion = Edit(Site("mlp_out", 1), "add", torch.full((model.shape.d_model,), torch.inf))
    with pytest.raises(
        LabError, match=r"not finite in an edited clean pass of .*: first mlp_out of layer 1, prompt 'W"
    ):
        Engine(model, prompts, readout=readout).run([(), (explosion,)], "clean", progress=False)


def test_logits_of_other_tokens_that_are_not_finite_are_reported(folders, tmp_path):
    plain = hugging_face(folders["tiny-gpt2"])
    plain.config.tie_word_embeddings = False
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.clone())
    plain.lm_head.weight.data[5] = torch.inf
    model, _ = other_model(folders["tiny-gpt2"], tmp_path, plain)
    prompts = ioi_task(n=2).prompt_pairs(model.tokens)
    with pytest.raises(LabError, match="not finite in the clean pass of other: the logits"):
        Engine(model, prompts).baseline("clean")


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_metrics_equal_numpy():
    rng = np.random.default_rng(0)
    logits, base = rng.normal(0, 2, (2, 2, 10)), rng.normal(0, 2, (2, 10))
    readout = Readout.empty(3, len(PROMPTS))
    result = BatchResult(bucket((0, 2)), [2, 0], torch.tensor(logits), {"kl": torch.tensor(log_softmax(base))}, {})
    read_into(readout, result)
    for slot, index in enumerate((2, 0)):
        for row, prompt in enumerate((0, 2)):
            answer, distractor = PROMPTS[prompt].answer_id, PROMPTS[prompt].distractor_id
            log_p, log_q = log_softmax(base[row]), log_softmax(logits[slot, row])
            assert readout.answer_logit[index, prompt] == pytest.approx(logits[slot, row, answer])
            assert readout.distractor_logit[index, prompt] == pytest.approx(logits[slot, row, distractor])
            difference = logits[slot, row, answer] - logits[slot, row, distractor]
            assert readout.logit_diff[index, prompt] == pytest.approx(difference)
            assert readout.p_answer[index, prompt] == pytest.approx(np.exp(log_q[answer]))
            assert readout.p_distractor[index, prompt] == pytest.approx(np.exp(log_q[distractor]))
            assert readout.kl[index, prompt] == pytest.approx((np.exp(log_p) * (log_p - log_q)).sum())
    assert np.isnan(readout.logit_diff[1]).all()  # neither other edit sets nor other prompts are written
    assert np.isnan(readout.kl[:, 1]).all()


def test_the_divergence_from_itself_is_zero_and_never_negative():
    logits = torch.randn(1, 2, 10, generator=torch.Generator().manual_seed(0))
    readout = Readout.empty(1, len(PROMPTS))
    read_into(readout, BatchResult(bucket((0, 2)), [0], logits, {"kl": logits[0].log_softmax(-1)}, {}))
    assert (readout.kl[0, [0, 2]] >= 0).all()
    assert readout.kl[0, [0, 2]] == pytest.approx([0, 0], abs=1e-6)


def test_of_two_logits_no_probabilities_are_read():
    readout = Readout.empty(1, len(PROMPTS), probabilities=False)
    read_into(readout, BatchResult(bucket((1,)), [0], torch.tensor([[[3.0, 0.5]]]), {}, {}))
    assert readout.p_answer is None
    assert (readout.answer_logit[0, 1], readout.distractor_logit[0, 1], readout.logit_diff[0, 1]) == (3, 0.5, 2.5)


def test_the_pair_of_each_row():
    values = torch.arange(2 * 2 * 10).view(2, 2, 10)
    assert bucket((0, 2)).targets.read(values).tolist() == [[[5, 6], [17, 10]], [[25, 26], [37, 30]]]
