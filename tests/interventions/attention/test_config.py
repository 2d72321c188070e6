"""The keys of the attention intervention: those of today, and those in the config.yaml of earlier runs."""

from __future__ import annotations

import json

import pytest
import yaml

from ioi_lab.config import instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.attention.config import Attention
from ioi_lab.interventions.base import Intervention
from tests.conftest import only_run_folder
from tests.interventions.toy import ToyEngine

EARLIER = {
    "_target_": "ioi_lab.interventions.attention.Attention",
    "name": "attention",
    "query": "END",
    "keys": ["IO", "S1"],
    "run": "corrupted",
    "layer": 1,
    "heads": "strongest",
    "k": 2,
    "from_run": None,
    "prompt": 0,
}
"""An intervention as the resolved config of an earlier version has it."""


def test_an_earlier_config_is_read():
    expected = Attention(keys=["IO", "S1"], prompts="corrupted", layer=1, k=2)
    assert instantiate(EARLIER, "intervention", Intervention) == expected


def test_titles_name_the_corrupted_prompts_only():
    assert Attention(query="S2", keys=["S1"]).title == "attention S2 → S1"
    assert Attention(prompts="corrupted").title == "attention END → IO (corrupted)"


def test_the_config_of_an_earlier_run_can_be_run_again(sweep, tmp_path):
    keys = ("prompts=corrupted", "keys=[IO,S1]", "layer=1", "k=2")
    base = ("tracker=none", "task.n=4", "figures=false", "intervention=attention")
    assert sweep(*base, *(f"intervention.{key}" for key in keys), "name=new").code == 0
    new = only_run_folder(tmp_path)
    config = yaml.safe_load((new / "config.yaml").read_text())
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "config.yaml").write_text(yaml.safe_dump(config | {"intervention": EARLIER}, sort_keys=False))
    outcome = sweep("--config-dir", str(earlier), "--config-name", "config", "name=again")
    assert outcome.code == 0, outcome.err
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert json.loads((again / "metrics.json").read_text()) == json.loads((new / "metrics.json").read_text())
    assert (again / "results.csv").read_text() == (new / "results.csv").read_text()


def test_the_heads_of_a_circuit_are_drawn(tmp_path, monkeypatch):
    (tmp_path / "circuit.json").write_text('{"model": "toy", "edges": ["input->a0.h2<q>", "a0.h2->logits"]}')
    drawn = {}
    monkeypatch.setattr(
        "ioi_lab.interventions.attention.measure.measure_attention", lambda *_, heads, **__: drawn.update(heads=heads)
    )
    Attention(circuit=str(tmp_path / "circuit.json")).measure(ToyEngine())
    assert drawn["heads"] == ["0.2"]
    with pytest.raises(LabError, match=r"^intervention\.heads: got .*1\.1.*, but the circuit has its heads already"):
        Attention.from_config({"circuit": "circuit.json", "heads": ["1.1"]}, "intervention")
    with pytest.raises(LabError, match=r"^intervention\.circuit: '.*none\.json' is not a file$"):
        Attention(circuit=str(tmp_path / "none.json")).check()
