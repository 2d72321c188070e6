"""Files of tensors: read back bit for bit, and refused if they are not what a run needs."""

from __future__ import annotations

import os

import pytest
import torch
from pydantic import Json
from safetensors import safe_open
from safetensors.torch import save_file

from ioi_lab.errors import LabError
from ioi_lab.storage.tensors import Metadata, ModelOrigin, TensorKind


class Made(Metadata):
    contrast: str
    layers: Json[list[int]]


TOY = ModelOrigin("toy", "abc")
KEY = "intervention.vector"
VECTORS = TensorKind("toy vectors", Made)
MAPS = TensorKind("toy maps", Metadata)
TENSORS = {"z.1.2": torch.arange(6.0).reshape(2, 3).T, "whole": torch.tensor([1.0, 2.0])}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "vectors.safetensors"
    file.write_bytes(VECTORS.content(TENSORS, TOY, contrast="name_pair", layers="[1, 2]"))
    return file


def test_what_is_written_is_read_back(path):
    file = VECTORS.read(path, KEY)
    assert file.metadata == Made(model="toy", weights_sha256="abc", contrast="name_pair", layers="[1, 2]")
    assert file.metadata.layers == [1, 2]
    assert torch.equal(file.tensors["z.1.2"], torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    assert torch.equal(file.tensors["whole"], torch.tensor([1.0, 2.0]))
    file.check_shapes({"z.1.2": (3, 2), "whole": [2]})


def test_anyone_can_read_it(path):
    with safe_open(path, "np") as file:
        assert file.metadata()["kind"] == "toy vectors"
        assert file.metadata()["contrast"] == "name_pair"
        assert file.get_tensor("z.1.2").tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_file_of_another_model_is_refused_unless_any_will_do(path):
    """The name alone does not make a model: it is the weights."""
    file = VECTORS.read(path, KEY)
    for origin in (ModelOrigin("other", "abd"), ModelOrigin("toy", "abd")):
        with pytest.raises(LabError, match=rf"^{KEY}: .* belongs to another model \(toy\); expected {origin.name}$"):
            file.check_model(origin)
    file.check_model(ModelOrigin("renamed", "abc"))


def test_a_file_of_another_kind_is_refused(path):
    with pytest.raises(LabError, match=rf"^{KEY}: .* contains toy vectors; expected toy maps$"):
        MAPS.read(path, KEY)


def test_a_file_of_another_origin_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(LabError, match=r"x\.safetensors' was not written by a run of this lab; expected toy maps$"):
        MAPS.read(tmp_path / "x.safetensors", KEY)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"layers": "[1,"}, "has no usable 'layers' in its metadata: Invalid JSON"),
        ({"layers": '["x"]'}, r"has no usable 'layers\.0' in its metadata: Input should be a valid integer"),
        ({"layers": "[" * 5000}, "has no usable 'layers' in its metadata: Invalid JSON"),
        ({"contrast": None}, "has no usable 'contrast' in its metadata: Field required"),
    ],
)
def test_metadata_are_checked(path, changes, line):
    provenance = {"contrast": "name_pair", "layers": "[1, 2]"} | changes
    given = {name: value for name, value in provenance.items() if value is not None}
    path.write_bytes(VECTORS.content(TENSORS, TOY, **given))
    with pytest.raises(LabError, match=rf"^{KEY}: .* {line}"):
        VECTORS.read(path, KEY)


@pytest.mark.parametrize(
    ("tensor", "line"),
    [
        (torch.tensor([1.0, float("nan")]), "has x with values that are not finite; expected numbers"),
        (torch.tensor([1.0, -float("inf")]), "has x with values that are not finite; expected numbers"),
        (torch.tensor([1, 2]), "has x of type I64; expected F32"),
        (torch.tensor([True]), "has x of type BOOL; expected F32"),
        (torch.tensor([1.0], dtype=torch.float64), "has x of type F64; expected F32"),
        (torch.tensor([1.0], dtype=torch.bfloat16), "has x of type BF16; expected F32"),
        (torch.tensor([1.0], dtype=torch.float8_e4m3fn), "has x of type F8_E4M3; expected F32"),
    ],
)
def test_values_are_checked(tmp_path, tensor, line):
    path = tmp_path / "x.safetensors"
    path.write_bytes(MAPS.content({"x": tensor}, TOY))
    with pytest.raises(LabError, match=rf"^{KEY}: .* {line}$"):
        MAPS.read(path, KEY)


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ({"z.1.2": (3, 2)}, "has 'whole', which is none of its kind's tensors"),
        ({"z.1.2": (2, 3), "whole": (2,)}, r"has z\.1\.2 of shape \[3, 2\]; expected \[2, 3\], as it is"),
        ({"z.1.2": (3, 2), "whole": (2,), "more": (1,)}, "lacks 'more'"),
    ],
)
def test_names_and_shapes_are_checked(path, expected, line):
    with pytest.raises(LabError, match=rf"^{KEY}: .* {line}$"):
        VECTORS.read(path, KEY).check_shapes(expected, "as it is")


@pytest.mark.parametrize(
    "content",
    [b"", b"no tensors", b"\xff" * 100, (1 << 62).to_bytes(8, "little"), (90).to_bytes(8, "little") + b"{" * 90],
)
def test_a_file_that_cannot_be_read_is_reported_in_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(LabError, match=rf"^{KEY}: cannot read .* as safetensors: ") as caught:
        MAPS.read(path, KEY)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, line in (
        (tmp_path / "pipe", "is a pipe; expected a file"),
        (tmp_path, "is a folder; expected a file"),
        (tmp_path / "nowhere", "cannot read .*: No such file"),
    ):
        with pytest.raises(LabError, match=rf"^{KEY}: .*{line}"):
            MAPS.read(path, KEY)
