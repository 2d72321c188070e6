"""Files of tensors: read back bit for bit, and refused if they are not what a run needs."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import ModelOrigin, read_any_tensor_file, read_tensor_file, tensor_file

TOY = ModelOrigin("toy", "abc")
KEY = "intervention.vector"


@pytest.fixture
def path(tmp_path):
    tensors = {"z.1.2": torch.arange(6.0).reshape(2, 3).T, "whole": torch.tensor([1, 2])}
    file = tmp_path / "vectors.safetensors"
    file.write_bytes(tensor_file(tensors, TOY, "steering vectors", contrast="name_pair"))
    return file


def test_what_is_written_is_read_back(path):
    provenance, tensors = read_tensor_file(path, TOY, "steering vectors", KEY, "cpu")
    assert provenance == {"kind": "steering vectors", "model": "toy", "weights_sha256": "abc", "contrast": "name_pair"}
    assert torch.equal(tensors["z.1.2"], torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    assert torch.equal(tensors["whole"], torch.tensor([1, 2]))


def test_anyone_can_read_it(path):
    with safe_open(path, "np") as file:
        assert file.metadata()["contrast"] == "name_pair"
        assert file.get_tensor("z.1.2").tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_file_of_another_model_is_refused_unless_any_will_do(path):
    """The name alone does not make a model: it is the weights."""
    for origin in (ModelOrigin("other", "abd"), ModelOrigin("toy", "abd")):
        with pytest.raises(LabError, match=rf"^{KEY}: .* belongs to another model \(toy\); expected {origin.name}$"):
            read_tensor_file(path, origin, "steering vectors", KEY, "cpu")
    read_tensor_file(path, ModelOrigin("renamed", "abc"), "steering vectors", KEY, "cpu")
    provenance, _ = read_any_tensor_file(path, "steering vectors", KEY, "cpu")
    assert provenance["model"] == "toy"


def test_a_file_of_another_kind_is_refused(path):
    with pytest.raises(LabError, match=rf"^{KEY}: .* contains steering vectors; expected maps$"):
        read_any_tensor_file(path, "maps", KEY, "cpu")


def test_a_file_of_another_origin_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(LabError, match=r"x\.safetensors' was not written by a run of this lab; expected maps$"):
        read_any_tensor_file(tmp_path / "x.safetensors", "maps", KEY, "cpu")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 100])
def test_a_file_that_cannot_be_read_is_reported_in_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    for file in (path, tmp_path / "nowhere.safetensors"):
        with pytest.raises(LabError, match=rf"^{KEY}: cannot read .* as safetensors: ") as caught:
            read_any_tensor_file(file, "maps", KEY, "cpu")
        assert "\n" not in str(caught.value)
