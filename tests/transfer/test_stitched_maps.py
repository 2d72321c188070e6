"""Maps of heads trained by stitching: the loss against plain Hugging Face passes, and what training does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ioi_lab.alignment.training import TrainingSettings
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from ioi_lab.transfer.head_images import Images, head_outputs, mean_outputs
from ioi_lab.transfer.heads import contrasts_of_heads
from ioi_lab.transfer.stitched_maps import STOPPING_FOLD, StitchedMaps
from tests.conftest import hugging_face, model_config
from tests.oracle import edited_end_logits
from tests.transfer.conftest import on_prompts

HEAD, REPLACED = (2, 0), (3, 1)
SETTINGS = TrainingSettings(
    steps=30, batch=8, learning_rate=0.01, weight_decay=0.0, evaluate_every=10, patience=3, seed=0
)


@pytest.fixture(scope="module")
def sides():
    models = tuple(load_model(model_config(tiny_folder(name), name=name)) for name in ("tiny-gpt2", "tiny-pythia"))
    return on_prompts(models, n=64)


def maps_of(sides, position="END", settings=SETTINGS):
    contrasts = contrasts_of_heads(*sides, ([2], [3]), position)
    return StitchedMaps.of(*sides, contrasts, position, settings, "auto")


@pytest.fixture(scope="module")
def trained(sides):
    """Maps of which one has been asked for."""
    maps = maps_of(sides)
    maps.matrix(HEAD, REPLACED)
    return maps


@pytest.mark.parametrize("position", ["END", "S2"])
def test_the_loss_is_the_kl_of_plain_passes(sides, position):
    """Also if predictions are read at another position than the head's."""
    source, target = sides
    maps, plain = maps_of(sides, position), hugging_face(tiny_folder("tiny-pythia"))
    objective = maps.objective(HEAD, REPLACED)
    deviation = (
        head_outputs(source.training, "clean", [HEAD], position)[HEAD] - mean_outputs(source, [HEAD], position)[HEAD]
    )
    mean = mean_outputs(target, [REPLACED], position)[REPLACED]
    own = head_outputs(target.training, "clean", [REPLACED], position)[REPLACED] - mean
    image = deviation @ maps.start.matrix(HEAD, REPLACED)
    written = torch.from_numpy(mean + image * np.linalg.norm(own) / np.linalg.norm(image)).float()
    site, stream = Site("z", *REPLACED, position), Site("attn_out", REPLACED[0], None, position)
    for batch in objective.stopping[:1]:
        divergences = []
        for row in batch.texts.tolist():
            pair = target.training.prompts[row]
            own_logits, logits = (
                edited_end_logits(plain, pair, row, edits, "corrupted").log_softmax(-1)
                for edits in (
                    [Edit(site, "replace", FromPass("clean"))],
                    [Edit(site, "zero"), Edit(stream, "add", written)],
                )
            )
            divergences.append(float((own_logits.exp() * (own_logits - logits)).sum()))
        assert float(objective.loss(objective.start, batch)) == pytest.approx(np.mean(divergences), rel=1e-3, abs=1e-6)


def test_training_lowers_the_kl_and_keeps_what_is_best_on_answers_that_are_left_out(trained):
    curve = trained.curves[HEAD, REPLACED]
    assert curve.training[-1] < 0.9 * curve.training[0]
    assert curve.stopping[curve.kept] == curve.stopping.min()
    training = trained.training
    assert training.n_unfinished == int(not curve.has_converged)
    assert (list(training.curves), training.n_improved) == ([(HEAD, REPLACED)], int(curve.kept > 0))
    assert training.loss == curve.stopping.min() <= training.loss_at_start == curve.stopping[0]


def test_the_same_seed_gives_the_same_map(sides, trained):
    assert np.array_equal(maps_of(sides).matrix(HEAD, REPLACED), trained.matrix(HEAD, REPLACED))


def test_images_have_the_length_of_what_they_replace_without_being_scaled(sides, trained):
    means = mean_outputs(sides[1], [REPLACED], "END")
    assert Images.of(*sides, [HEAD], means, trained, "END").length(HEAD, REPLACED) == pytest.approx(1, abs=1e-4)


def test_the_answers_that_show_when_to_stop_take_no_part(sides, trained):
    answers = np.array([prompt.steered.answer for prompt in sides[1].contrast.training])
    left_out, objective = set(answers[trained.unseen]), trained.objective(HEAD, REPLACED)
    assert left_out
    assert left_out.isdisjoint(trained.start.source.answers)
    in_training = {index for seed in (0, 1) for batch in objective.batches(seed) for index in batch.texts.tolist()}
    assert left_out.isdisjoint(answers[sorted(in_training)])
    assert set(answers[[index for batch in objective.stopping for index in batch.texts.tolist()]]) == left_out
    assert list(trained.contrasts[0].fold[trained.unseen]) == [STOPPING_FOLD] * len(trained.unseen)


def test_a_head_that_writes_nothing_gets_no_training(trained):
    silent = replace(trained, deviations={HEAD: np.zeros_like(trained.deviations[HEAD])}, _trained={}, curves={})
    assert np.array_equal(silent.matrix(HEAD, REPLACED), silent.start.matrix(HEAD, REPLACED))
    assert silent.training is None


def test_too_few_answers_are_one_line(sides):
    contrasts = contrasts_of_heads(*sides, ([2], [3]), "END")
    few = [replace(side, answers=[f" {index % 5}" for index in range(len(side.answers))]) for side in contrasts]
    with pytest.raises(LabError, match=r"intervention\.head_map: .* 5 or more different answers, got 4; raise task\.n"):
        StitchedMaps.of(*sides, tuple(few), "END", SETTINGS, "auto")
