"""Whole alignments: known answers, the bound on memory, and the file of maps."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ioi_lab.alignment.align import Maps, align, distance_from_identity, load_maps, save_maps
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from tests.alignment.conftest import aligned, alignment_config, all_activations, tiny_english
from tests.conftest import model_config


def copy_of(x, scale=3.0):
    """The same activations rotated, scaled and shifted, and the map to them."""
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=generator, dtype=torch.float64))
    shift = 5 * torch.randn(x.shape[1], generator=generator, dtype=torch.float64)
    return scale * x @ rotation + shift, AffineMap(scale * rotation, shift)


class WithItsCopy(Pairing):
    """A model next to a rotated, scaled and shifted copy of its own activations."""

    def activations(self, chunk):
        x, _ = super().activations(chunk)
        return x, copy_of(x[:, 0])[0][:, None]


@pytest.mark.parametrize("method", ["ridge", "procrustes", "lowrank", "anchors"])
def test_a_rotated_scaled_shifted_copy_gives_the_known_map(both, method):
    width = both[0].shape.d_model
    config = alignment_config(method=method, source_layers=2, target_layers=2, rank=width)
    pairing = WithItsCopy.of(config, (both[0], both[0]), "auto")
    found = align(Reader(pairing, tiny_english(400), config, 0), pairing, config)
    _, known = copy_of(torch.zeros(1, width, dtype=torch.float64))
    fit, errors = found.forward[2, 2], found.forward_errors[2, 2]
    assert errors.r2() > 0.999
    assert errors.r2("shuffled") <= 0
    assert errors.r2("mean_shift") < 0.5
    assert float((fit.map.matrix - known.matrix).norm() / known.matrix.norm()) < 1e-3
    assert float((fit.map.bias - known.bias).norm() / known.bias.norm()) < 1e-2
    assert fit.cka == pytest.approx(1)


def test_a_model_is_aligned_with_itself_by_the_identity(both):
    config = alignment_config(source_layers=[1, 3], target_layers=[1, 3])
    found = aligned((both[0], both[0]), config, tiny_english())
    for layer in (1, 3):
        assert found.forward_errors[layer, layer].r2() > 0.9999
        assert found.forward_errors[layer, layer].r2("shuffled") <= 0
        assert distance_from_identity(found.forward[layer, layer].map) < 1e-2
    assert found.forward_errors[1, 3].r2() < 0.99


def test_maps_beat_their_controls_between_the_tiny_models(both):
    found = aligned(both, alignment_config(source_layers=3, target_layers=3), tiny_english(400))
    for errors in (found.forward_errors[3, 3], found.backward_errors[3, 3]):
        assert errors.r2() > 0.9
        assert errors.r2("shuffled") <= 0
        assert errors.r2("mean_shift") < 0


def test_the_last_positions_alone(both):
    config = alignment_config(positions="last", source_layers=3, target_layers=3)
    found = aligned(both, config, tiny_english(150))
    assert found.n_positions + found.n_held_out == 150
    x, _, _ = all_activations(both, config, tiny_english(150))
    assert len(x) == 150


def test_sums_that_do_not_fit_are_reported_before_anything_is_read(both):
    config = alignment_config()
    pairing = Pairing.of(config, both, 1e-4)
    with pytest.raises(LabError, match=r"engine\.memory_gb: the sums of 16 pairs of layers in 3 folds take"):
        align(Reader(pairing, tiny_english(), config, 0), pairing, config)


# The file


@pytest.fixture
def saved(both, tmp_path):
    config = alignment_config(source_layers=[2, 3], target_layers=[1, 3])
    found = aligned(both, config, tiny_english(100))
    maps = Maps.of(found, config, "tiny english")
    path = tmp_path / "maps.safetensors"
    path.write_bytes(save_maps(maps, both))
    return maps, path


def test_maps_come_back_from_their_file_either_way_round(both, saved):
    maps, path = saved
    loaded, turned = load_maps(path, both, "maps"), load_maps(path, both[::-1], "maps")
    assert (loaded.component, loaded.title) == ("resid_post", "ridge map fitted on tiny english")
    for pair, expected in maps.forward.items():
        assert torch.allclose(loaded.forward[pair].matrix, expected.matrix, atol=1e-5)
        assert torch.allclose(turned.backward[pair].bias, expected.bias, atol=1e-4)
        assert loaded.r2[0][pair] == turned.r2[1][pair] == maps.r2[0][pair]
    some = loaded.of_layers("resid_post", ([3], [1]), "alignment")
    assert (list(some.forward), list(some.backward)) == ([(3, 1)], [(1, 3)])


def test_maps_of_other_models_widths_layers_or_sites_are_refused(both, saved, tmp_path, random_folders):
    _, path = saved
    stranger = load_model(model_config(random_folders["gpt2"], name="stranger"))
    with pytest.raises(LabError, match="is of tiny-gpt2 and tiny-pythia; expected maps between stranger and tiny-py"):
        load_maps(path, (stranger, both[1]), "maps")
    with pytest.raises(LabError, match="expected maps between tiny-gpt2 and tiny-gpt2"):
        load_maps(path, (both[0], both[0]), "maps")
    loaded = load_maps(path, both, "maps")
    with pytest.raises(
        LabError, match=r"there is no map from layer 0 to 1; there are maps between layers \[2, 3\] and \[1"
    ):
        loaded.of_layers("resid_post", ([0], [1]), "alignment")
    with pytest.raises(LabError, match=r"alignment\.component: got 'resid_pre', but the maps are of resid_post"):
        loaded.of_layers("resid_pre", ([2], [1]), "alignment")
    tensors = load_file(path)
    tensors["forward.2.1.matrix"] = torch.zeros(3, 4)
    with safe_open(path, "pt") as file:
        save_file(tensors, tmp_path / "wrong.safetensors", file.metadata())
    widths = r"\[" + ", ".join(str(model.shape.d_model) for model in both) + r"\]"
    with pytest.raises(LabError, match=r"forward\.2\.1\.matrix of shape \[3, 4\]; expected " + widths):
        load_maps(tmp_path / "wrong.safetensors", both, "maps")
    (tmp_path / "no.safetensors").write_text("no")
    with pytest.raises(LabError, match="as safetensors"):
        load_maps(tmp_path / "no.safetensors", both, "maps")
