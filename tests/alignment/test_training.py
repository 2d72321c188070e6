"""Training on a problem whose solution is known: it stops, goes on where it was, and reports that it diverges."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from ioi_lab.alignment.training import Objective, TrainingSettings, train
from ioi_lab.errors import LabError

SETTINGS = {
    "steps": 60, "batch": 1, "learning_rate": 0.05, "weight_decay": 0.0, "evaluate_every": 5, "patience": 100, "seed": 3
}  # fmt: skip


def objective(start=0.0, noise=0.1, loss=None):
    """A line through noisy points."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, generator=generator)
    y = 2 * x + 1 + noise * torch.randn(64, generator=generator)

    def epoch(seed):
        order = torch.randperm(48, generator=torch.Generator().manual_seed(seed))
        return [(x[rows], y[rows]) for rows in order.split(10)]

    def squares(parameters, batch):
        return (parameters["slope"] * batch[0] + parameters["bias"] - batch[1]).square().mean()

    parameters = {"slope": torch.tensor(start), "bias": torch.tensor(start)}
    return Objective(parameters, epoch, loss or squares, [(x[:48], y[:48])], [(x[48:], y[48:])], lambda b: len(b[0]))


def settings(**changes):
    return TrainingSettings(**(SETTINGS | changes))


def test_it_finds_the_solution_and_keeps_the_best():
    parameters, curve = train(objective(), settings(steps=300), "line")
    assert float(parameters["slope"]) == pytest.approx(2, abs=0.1)
    assert curve.kept == int(np.argmin(curve.stopping))
    assert curve.stopping[curve.kept] < 0.05 * curve.stopping[0]
    assert not curve.has_converged
    assert curve.steps.tolist() == list(range(0, 301, 5))


def test_it_stops_when_the_loss_stops_falling():
    _, curve = train(objective(), settings(steps=5000, patience=3), "line")
    assert curve.has_converged
    assert curve.steps[-1] < 1000


def test_an_interrupted_training_goes_on_to_the_same_parameters():
    expected, curve = train(objective(), settings(), "line")
    saved = []
    train(objective(), settings(), "line", save=lambda state: saved.append(deepcopy(state)))
    for state in (saved[0], saved[4], saved[-1]):
        parameters, again = train(objective(), settings(), "line", deepcopy(state))
        assert {name: float(value) for name, value in parameters.items()} == {
            name: float(value) for name, value in expected.items()
        }
        assert again.stopping.tolist() == curve.stopping.tolist()
        assert again.steps.tolist() == curve.steps.tolist()


def test_a_start_at_the_solution_is_kept():
    start = objective(noise=0.0)
    start.start["slope"].fill_(2.0)
    start.start["bias"].fill_(1.0)
    parameters, curve = train(start, settings(learning_rate=0.001), "line")
    assert (curve.kept, float(parameters["slope"])) == (0, 2.0)


def test_training_that_diverges_is_reported():
    line = (
        r"^alignment\.learning_rate: got 50, but the training of the line has diverged: the loss on the training texts "
        r"rose from .* to .*; choose a smaller one, such as 5$"
    )
    with pytest.raises(LabError, match=line):
        train(objective(start=1.5), settings(learning_rate=50.0, steps=20), "line")


@pytest.mark.parametrize(("when", "steps"), [(0, 0), (4, 3)])
def test_a_loss_that_is_not_finite_is_reported(when, steps):
    calls = []

    def loss(parameters, batch):
        calls.append(batch)
        return parameters["slope"].square() * (float("nan") if len(calls) > when else 1.0)

    with pytest.raises(LabError, match=f"diverged: the loss after {steps} steps is not finite; choose a smaller one"):
        train(objective(start=1.0, loss=loss), settings(), "line")
