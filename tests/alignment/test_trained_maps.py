"""Trained maps: they improve on their start, do not depend on chance, and standardization is undone."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.nonlinear import MlpMap
from ioi_lab.alignment.text_activations import ReadPiece
from ioi_lab.alignment.trained_maps import Scales, activation_objective, map_of
from ioi_lab.alignment.training import TrainingSettings
from ioi_lab.errors import LabError
from tests.alignment.conftest import aligned, alignment_config, tiny_english

SHORT = {"source_layers": [2], "target_layers": [1], "steps": 20, "evaluate_every": 5}


@pytest.mark.long
@pytest.mark.parametrize("method", ["affine_trained", "mlp"])
def test_training_lowers_its_loss_and_is_the_same_each_time(both, method):
    config = alignment_config(method=method, **SHORT)
    found, again = (aligned(both, config, tiny_english(150)) for _ in range(2))
    for fit, same in ((found.forward[2, 1], again.forward[2, 1]), (found.backward[1, 2], again.backward[1, 2])):
        assert fit.curve.stopping[fit.curve.kept] < 0.95 * fit.curve.stopping[0]
        assert fit.curve.stopping.tolist() == same.curve.stopping.tolist()
        assert torch.equal(fit.map.matrix, same.map.matrix)
        assert isinstance(fit.map, AffineMap if method == "affine_trained" else MlpMap)
    assert found.forward_errors[2, 1].r2("shuffled") < 0.05


def test_a_trained_map_starts_as_the_ridge_map(both):
    """With a learning rate of next to nothing, the affine map stays where it starts."""
    config = alignment_config(method="affine_trained", learning_rate=1e-12, **SHORT | {"steps": 1})
    trained = aligned(both, config, tiny_english(100))
    ridge = aligned(both, alignment_config(**SHORT), tiny_english(100))
    for pair, fit in trained.forward.items():
        assert torch.allclose(fit.map.matrix, ridge.forward[pair].map.matrix, atol=1e-4)
        assert torch.allclose(fit.map.bias, ridge.forward[pair].map.bias, atol=1e-3)


def test_standardization_is_undone():
    generator = torch.Generator().manual_seed(0)
    x, y = (5 + 3 * torch.randn(50, width, generator=generator) for width in (4, 3))
    scales = Scales.of(x, y)
    assert float(((x - scales.mean_x) / scales.rms_x).square().mean()) == pytest.approx(1)
    parts = {"matrix": (4, 6), "bias": (6,), "out_matrix": (6, 3), "out_bias": (3,)}
    parameters = {name: torch.randn(shape, generator=generator) for name, shape in parts.items()}
    expected = scales.mean_y + scales.rms_y * MlpMap(**parameters)((x - scales.mean_x) / scales.rms_x)
    assert torch.allclose(map_of(parameters, scales)(x.double()).float(), expected, atol=1e-4)
    affine = {"matrix": torch.randn(4, 3, generator=generator), "bias": torch.randn(3, generator=generator)}
    expected = scales.mean_y + scales.rms_y * ((x - scales.mean_x) / scales.rms_x @ affine["matrix"] + affine["bias"])
    assert torch.allclose(map_of(affine, scales)(x.double()).float(), expected, atol=1e-4)


def test_texts_without_a_part_to_stop_on_are_reported(both):
    pieces: list[ReadPiece] = []
    settings = TrainingSettings(1, 1, 0.1, 0.0, 1, 1, 0)
    with pytest.raises(
        LabError, match=r"alignment\.train_texts: of the 0 texts that are read, none is left to train on"
    ):
        activation_objective(pieces, 1, (0, 0), Scales(torch.zeros(1), torch.zeros(1), 1.0, 1.0), 4, settings)
