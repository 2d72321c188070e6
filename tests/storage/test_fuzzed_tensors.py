"""Each kind of tensor file, changed in any way: it is refused in one line, or read as what it was."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save

from ioi_lab.alignment.map_files import Maps, load_maps, save_maps
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.lenses.training import Training
from ioi_lab.lenses.translators import load_translators, save_translators
from ioi_lab.models.shape import ModelShape
from ioi_lab.steering.files import read_vectors, vector_file
from ioi_lab.storage.tensors import ModelOrigin

SITES = [Site("resid_pre", layer) for layer in range(3)]
STEERED = [Site("resid_pre", 1, None, "END"), Site("resid_pre", 2, None, "S2")]


def model(name: str, width: int) -> SimpleNamespace:
    """What the readers ask of a model, without one."""
    shape = ModelShape(name, n_layers=3, n_heads=2, n_kv_heads=2, d_model=width, d_head=2, n_ctx=8)
    origin = ModelOrigin(name, f"weights of {name}")
    config = SimpleNamespace(label=name)
    bridge = SimpleNamespace(parameters=lambda: iter([torch.zeros(1)]))
    return SimpleNamespace(
        bridge=bridge,
        shape=shape,
        origin=origin,
        weights_sha256=origin.weights_sha256,
        config=config,
        device=torch.device("cpu"),
    )


ONE, OTHER = model("one", 4), model("other", 3)


def write_vectors() -> bytes:
    vectors = {site: np.linspace(-1, 1 + index, 4) for index, site in enumerate(STEERED)}
    return vector_file(
        vectors, dict.fromkeys(STEERED, 2.0), ONE.origin, task="ioi", method="mean_difference", contrast="name_pair",
        names=["James", "Robert"], seed=0, training=[], names_differ=False,
    )  # fmt: skip


def read_back_vectors(path):
    vectors, _ = read_vectors(
        path, ONE, "resid_pre", method="mean_difference", contrast="name_pair", names=["James", "Robert"], key="key"
    )
    return vectors


def write_maps() -> bytes:
    def fitted(rows, columns):
        return AffineMap(torch.ones(rows, columns), torch.ones(columns))

    pairs = [(0, 1), (2, 1)]
    backward = [pair[::-1] for pair in pairs]
    maps = Maps(
        {pair: fitted(4, 3) for pair in pairs},
        {pair: fitted(3, 4) for pair in backward},
        (dict.fromkeys(pairs, 0.5), dict.fromkeys(backward, float("nan"))),
        "resid_post",
        "toy",
    )
    return save_maps(maps, (ONE, OTHER), n_positions=9)


def read_back_maps(path):
    maps = load_maps(path, (ONE, OTHER), "key").of_layers("resid_post", ([0, 2], [1]), "key")
    assert all(maps.r2[0][pair] == maps.r2[0][pair] for pair in maps.forward)
    return {
        f"{direction}.{x}.{y}.{part}": getattr(fitted, part).numpy()
        for direction in ("forward", "backward")
        for (x, y), fitted in getattr(maps, direction).items()
        for part in ("matrix", "bias")
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("a text")
    return path


def write_translators(text) -> bytes:
    translators = {site: (torch.eye(4), torch.ones(4)) for site in SITES[:-1]}
    return save_translators(translators, ONE, text, Training(1, 1, 0.1, 0, 1, 1))


def read_back_translators(path):
    translators = load_translators(path, ONE, SITES)
    return {
        f"{site.component}.{site.layer}.{part}": tensor.numpy()
        for site, tensors in translators.items()
        for part, tensor in zip(("matrix", "bias"), tensors, strict=True)
    }


KINDS = {
    "vectors": (lambda text: write_vectors(), read_back_vectors),
    "maps": (lambda text: write_maps(), read_back_maps),
    "translators": (write_translators, read_back_translators),
}
VALUES = [float("nan"), float("inf"), -float("inf")]
TYPES = [torch.int64, torch.int8, torch.bool, torch.float16, torch.float64, torch.bfloat16, torch.uint8]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.text(max_size=8) | st.just("a\nb") | JSON.map(json.dumps) | st.just("[" * 3000) | st.just("9" * 5000)


def change_tensors(data, tensors):
    """Change one tensor, or which there are; returns whether they are still what was written."""
    name = data.draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    change = data.draw(st.sampled_from(["value", "type", "shape", "without", "more", "renamed", "nothing"]))
    if change == "value":
        tensors[name] = tensor.clone()
        tensors[name].view(-1)[data.draw(st.integers(0, tensor.numel() - 1))] = data.draw(st.sampled_from(VALUES))
    elif change == "type":
        tensors[name] = tensor.to(data.draw(st.sampled_from(TYPES)))
    elif change == "shape":
        size = tuple(data.draw(st.lists(st.integers(0, 5), max_size=3)))
        tensors[name] = torch.ones(size) if size != tuple(tensor.shape) else torch.ones(())
    elif change == "more":
        new = data.draw(
            st.text(min_size=1, max_size=8).filter(lambda new: new not in tensors and new != "__metadata__")
        )
        tensors[new] = tensor.clone()
    elif change == "renamed":
        parts = name.split(".")
        parts[data.draw(st.integers(0, len(parts) - 1))] = data.draw(st.sampled_from(["7", "-1", "x", "", "9" * 5000]))
        tensors[".".join(parts)] = tensors.pop(name)
    elif change == "without":
        del tensors[name]


def change_metadata(data, metadata):
    name = data.draw(st.sampled_from(sorted(metadata)))
    if data.draw(st.booleans()):
        del metadata[name]
    else:
        metadata[name] = data.draw(TEXTS.map(lambda text: text.encode("utf-8", "ignore").decode()))


def change_bytes(data, content):
    start = data.draw(st.integers(0, min(len(content), 400)))
    if data.draw(st.booleans()):
        return content[:start]
    return content[:start] + data.draw(st.binary(min_size=1, max_size=8)) + content[start + 1 :]


def read_or_refused(read, path):
    try:
        return read(path)
    except LabError as error:
        return str(error)


@pytest.mark.parametrize(("write", "read"), KINDS.values(), ids=KINDS.keys())
def test_a_changed_file_is_refused_in_one_line_or_read_as_what_it_was(write, read, text, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(write(text))
    right, tensors = read(path), load(path.read_bytes())
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert right.keys() == tensors.keys()

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def changed(data):
        now, said = dict(tensors), dict(metadata)
        how = data.draw(st.sampled_from(["tensors", "metadata", "bytes"]))
        if how == "tensors":
            change_tensors(data, now)
        elif how == "metadata":
            change_metadata(data, said)
        content = save(now, metadata=said)
        path.write_bytes(change_bytes(data, content) if how == "bytes" else content)
        found = read_or_refused(read, path)
        if isinstance(found, str):
            assert "\n" not in found
            assert len(found) < 700
            return
        for name, values in found.items():
            assert np.isfinite(values).all()
            if how != "bytes":  # a changed digit is a number like any other
                assert np.array_equal(values, right[name])
            assert values.shape == right[name].shape
        assert found.keys() == right.keys()

    changed()
