"""The packaged models with known circuits: what their cards claim, and making them."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from ioi_lab.errors import LabError
from ioi_lab.tiny import HAND_SET, PLANTED_MODELS, plant, tiny_folder, true_edges
from ioi_lab.tiny.folders import load
from ioi_lab.tiny.passes import Passes
from ioi_lab.tiny.plant import claims, held_out_prompts, plant_of
from ioi_lab.tiny.plants import PLANTS


@pytest.fixture(autouse=True)
def fewer_prompts(monkeypatch):
    monkeypatch.setattr(plant, "N_SCORED", 128)


@pytest.mark.parametrize("name", PLANTED_MODELS)
def test_packaged_circuits_do_the_task_and_nothing_else_does(name):
    found = claims(name, tiny_folder(name))
    assert found["accuracy"] >= 0.98
    assert found["circuit"] == pytest.approx(1, abs=0.05)
    assert found["rest"] == pytest.approx(0, abs=0.02)
    for cut, value in EXPECTED.get(name, {}).items():
        assert found[f"without {cut}"] == pytest.approx(value, abs=0.1), cut


EXPECTED = {
    "planted-backup": {"mover": 1, "backup": 1},
    "planted-or": {"first route": 1, "second route": 1},
    "planted-and": {"first route": 0, "second route": 0},
}


@pytest.mark.parametrize("name", PLANTED_MODELS)
@torch.no_grad()
def test_each_edge_of_a_packaged_circuit_is_needed(name):
    """In the circuit, or if some other part of it is cut: else it would be no edge of the circuit."""
    network, tokenizer = load(tiny_folder(name))
    passes = Passes.of(network.eval(), held_out_prompts(name, tokenizer), plant_of(name))
    circuit, cuts = set(passes.plant.edges), [set(cut) for cut in passes.plant.cuts.values()]
    bases = [circuit, *(circuit - cut for cut in cuts), *(circuit - {edge} for cut in cuts for edge in cut)]

    def answered(edges):
        return float(passes.logit_diff(passes.logits(edges)).mean())

    scale, needed = answered(circuit) - answered([]), set()
    for base in bases:
        whole = answered(base)
        needed |= {edge for edge in base - needed if abs(whole - answered(base - {edge})) > 0.2 * scale}
    assert needed == circuit


def test_without_the_negative_head_the_circuit_is_more_than_faithful():
    assert claims("planted-negative", tiny_folder("planted-negative"))["without negative"] > 1.15


@pytest.mark.parametrize("name", PLANTED_MODELS)
def test_folders_are_small_and_name_their_edges(name):
    folder = tiny_folder(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1e6
    saved = json.loads((folder / "circuit.json").read_text())
    assert saved["model"] == name
    assert true_edges(folder) == tuple(saved["edges"]) == plant_of(name).edges
    card = (folder / "README.md").read_text()
    assert all(f"`{edge}`" in card for edge in saved["edges"])
    assert float(re.search(r"accuracy of the network \| ([\d.]+)", card)[1]) >= 0.98


def test_training_repeats_itself(tmp_path, restored_torch, monkeypatch):
    monkeypatch.setattr("ioi_lab.tiny.planting.BATCH_SIZE", 16)
    monkeypatch.setattr(plant, "N_SCORED", 16)
    for folder, seed in (("first", 5), ("again", 5), ("other", 6)):
        plant.plant("planted-or", tmp_path / folder, seed, steps=2)
    first, again, other = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "again", "other"))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert true_edges(tmp_path / "first") == PLANTS["planted-or"].edges


def test_a_training_that_fails_leaves_nothing(tmp_path, restored_torch, monkeypatch):
    monkeypatch.setattr(plant, "fit", lambda *arguments, **settings: None)
    with pytest.raises(LabError, match=r"--seed: got 5, from which planted-or does not come to do the task"):
        plant.plant("planted-or", tmp_path / "new", seed=5)
    assert list(tmp_path.iterdir()) == []


def test_the_hand_set_model_is_written_as_it_is_packaged(tmp_path, restored_torch):
    plant.plant(HAND_SET, tmp_path / "again", seed=0)
    packaged, again = (
        load_file(folder / "model.safetensors") for folder in (tiny_folder(HAND_SET), tmp_path / "again")
    )
    assert all(torch.equal(packaged[key], again[key]) for key in packaged)
