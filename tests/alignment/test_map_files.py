"""Maps as files: they come back either way round, and those of other models, layers or types are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ioi_lab.alignment.map_files import Maps, load_maps, save_maps
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.alignment.nonlinear import MlpMap
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.alignment.conftest import aligned, alignment_config, tiny_english
from tests.conftest import model_config


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


def test_maps_with_a_hidden_layer_come_back_and_are_refused_for_directions(both, tmp_path):
    d_x, d_y = (model.shape.d_model for model in both)
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    forward = MlpMap(drawn(d_x, 5), drawn(5), drawn(5, d_y), drawn(d_y))
    backward = MlpMap(drawn(d_y, 5), drawn(5), drawn(5, d_x), drawn(d_x))
    maps = Maps({(1, 2): forward}, {(2, 1): backward}, ({(1, 2): 0.5}, {(2, 1): 0.4}), "resid_post", "map of a test")
    path = tmp_path / "maps.safetensors"
    path.write_bytes(save_maps(maps, both))
    loaded = load_maps(path, both, "maps")
    x = drawn(3, d_x)
    assert torch.allclose(loaded.forward[1, 2](x), forward(x), atol=1e-4)
    with pytest.raises(LabError, match=r"^maps: got map of a test, which has no image of a direction .*ridge"):
        loaded.affine("maps")


def test_affine_maps_stay_as_they_are(both, saved):
    maps, _ = saved
    affine = maps.affine("maps")
    assert affine.forward == maps.forward
    assert all(isinstance(each, AffineMap) for each in affine.turned.forward.values())


def test_maps_of_activations_of_another_type_are_refused(both, saved):
    _, path = saved
    half = load_model(model_config(tiny_folder("tiny-pythia"), name="tiny-pythia", dtype="bfloat16"))
    with pytest.raises(LabError, match=r"in float32 and float32 .*, but the models are in float32 and bfloat16"):
        load_maps(path, (both[0], half), "maps")


def test_maps_of_earlier_versions_have_no_types(both, saved, tmp_path):
    _, path = saved
    with safe_open(path, "pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name not in ("dtypes", "hidden")}
    save_file(load_file(path), tmp_path / "old.safetensors", metadata)
    assert load_maps(tmp_path / "old.safetensors", both, "maps").title == replace(saved[0]).title
