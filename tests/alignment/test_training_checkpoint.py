"""The file of an unfinished training: what is written comes back, and belongs to one training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment import training_checkpoint
from ioi_lab.alignment.training import LossCurve, TrainingState
from ioi_lab.alignment.training_checkpoint import TrainingCheckpoint
from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import ModelOrigin

ORIGIN = ModelOrigin("model", "0" * 64)


def test_maps_and_the_state_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(training_checkpoint, "_SECONDS", 0.0)
    monkeypatch.setattr(training_checkpoint, "_SHARE", 0)
    path = tmp_path / "training.safetensors"
    checkpoint = TrainingCheckpoint.of(ORIGIN, {"seed": 1, "layers": (1, 2)}, path, None)
    curve = LossCurve(np.array([0, 5]), np.array([2.0, 1.0]), np.array([2.5, 1.5]), 1, has_converged=True)
    checkpoint.finish("forward.1.2", {"matrix": torch.eye(2)}, curve)
    state = TrainingState(
        {"matrix": torch.ones(2)},
        {"matrix": torch.zeros(2)},
        {"matrix.exp_avg": torch.ones(2)},
        5,
        [0, 5],
        [3.0, 2.0],
        [3.0, 0.1],
    )
    checkpoint.save("forward.2.2", state)
    loaded = TrainingCheckpoint.of(ORIGIN, {"seed": 1, "layers": (1, 2)}, None, path)
    parameters, found = loaded.finished["forward.1.2"]
    assert torch.equal(parameters["matrix"], torch.eye(2))
    assert (found.stopping.tolist(), found.kept, found.has_converged) == ([2.5, 1.5], 1, True)
    again = loaded.state_of("forward.2.2")
    assert (again.step, again.steps, again.training, again.stopping) == (5, [0, 5], [3.0, 2.0], [3.0, 0.1])
    assert torch.equal(again.moments["matrix.exp_avg"], torch.ones(2))
    assert loaded.state_of("backward.2.2") is None
    with pytest.raises(LabError, match=r"resume_from: .* belongs to another training: seed is 1 there, 2 here"):
        TrainingCheckpoint.of(ORIGIN, {"seed": 2}, None, path)
    path.write_bytes(b"damaged")
    with pytest.raises(LabError, match="resume_from: cannot read"):
        TrainingCheckpoint.of(ORIGIN, {"seed": 1}, None, path)


def test_without_a_file_nothing_is_written(tmp_path):
    checkpoint = TrainingCheckpoint.of(ORIGIN, {}, None, tmp_path / "none.safetensors")
    checkpoint.finish(
        "forward.0.0", {}, LossCurve(np.array([0]), np.array([1.0]), np.array([1.0]), 0, has_converged=False)
    )
    assert list(tmp_path.iterdir()) == []
