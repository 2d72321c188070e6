"""The keys of the logit lens: those of today, and those in the config.yaml of earlier runs."""

from __future__ import annotations

import json

import pytest
import yaml

from ioi_lab.config import instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.logit_lens.config import LogitLens
from ioi_lab.lenses.logit import LogitLens as PlainLens
from ioi_lab.lenses.tuned import TunedLens
from ioi_lab.runs.identity import sha256_of_named_files
from ioi_lab.tiny.corpus import sentences
from tests.conftest import only_run_folder

EARLIER = {
    "_target_": "ioi_lab.interventions.logit_lens.LogitLens",
    "name": "logit_lens",
    "position": "END",
    "sublayers": False,
    "lens": "logit",
    "text": None,
    "translators": None,
    "steps": 5,
    "batch": 32,
    "learning_rate": 0.01,
    "seed": 3,
    "prompt": 1,
    "scale": "log",
    "top_k": 2,
}
"""An intervention as the resolved config of an earlier version has it."""


def lens_of(**changes):
    return instantiate(EARLIER | changes, "intervention", Intervention)


def test_an_earlier_config_of_the_plain_lens_is_read():
    assert lens_of() == LogitLens(position="END", prompt=1, scale="log", top_k=2)
    assert lens_of().title == "logit lens"


@pytest.mark.parametrize("source", [{"text": "a.txt"}, {"translators": "a.safetensors"}])
def test_an_earlier_config_of_the_tuned_lens_is_read(source):
    expected = TunedLens(**source, steps=5, batch=32, learning_rate=0.01, seed=3)
    assert lens_of(lens="tuned", **source).lens == expected
    assert lens_of(lens="tuned", **source).title == "tuned lens"


def test_mistakes_in_an_earlier_config_name_the_new_keys():
    with pytest.raises(LabError, match=r"^intervention\.lens\.text: the tuned lens takes either"):
        lens_of(lens="tuned")
    with pytest.raises(LabError, match=r"^intervention\.lens\.steps: got 0, expected"):
        lens_of(lens="tuned", text="a.txt", steps=0)
    with pytest.raises(LabError, match=r"^intervention\.lens: got 'other', but a lens is chosen by lens@intervention"):
        lens_of(lens="other")


def test_a_lens_can_be_given_in_python():
    tuned = TunedLens(text="a.txt")
    assert LogitLens(lens=tuned).lens is tuned
    assert LogitLens().lens == PlainLens()
    assert LogitLens(lens=tuned).model_dump()["lens"]["text"] == "a.txt"
    with pytest.raises(LabError, match=r"^intervention\.lens\.text: 'a\.txt' is not a file"):
        LogitLens(lens=tuned).check()


def test_the_files_of_a_lens_are_part_of_the_identity_of_a_run(tmp_path):
    file = tmp_path / "corpus.txt"
    for key in ("text", "translators"):
        config = {"intervention": {"lens": {key: str(file)}}}
        file.write_text("one")
        before = sha256_of_named_files(config)
        file.write_text("two")
        assert sha256_of_named_files(config) != before


def test_the_config_of_an_earlier_run_can_be_run_again(sweep, tmp_path):
    (tmp_path / "corpus.txt").write_text(" ".join(sentences(120, seed=1)))
    base = ("tracker=none", "task.n=4", "figures=false", "seed=3", "intervention=logit_lens")
    keys = ("intervention.position=END", "intervention.prompt=1", "intervention.top_k=2", "intervention.scale=log")
    lens = (
        "lens@intervention.lens=tuned", "intervention.lens.text=corpus.txt", "intervention.lens.steps=5",
        "intervention.lens.batch=32", "intervention.lens.learning_rate=0.01",
    )  # fmt: skip
    assert sweep(*base, *keys, *lens, "name=new").code == 0
    new = only_run_folder(tmp_path)
    config = yaml.safe_load((new / "config.yaml").read_text())
    assert config["intervention"]["lens"]["text"] == str(tmp_path / "corpus.txt")
    assert config["intervention"]["lens"]["seed"] == 3
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    text = config["intervention"]["lens"]["text"]
    config["intervention"] = EARLIER | {"lens": "tuned", "text": text}
    (earlier / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    outcome = sweep("--config-dir", str(earlier), "--config-name", "config", "name=again")
    assert outcome.code == 0, outcome.err
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert json.loads((again / "metrics.json").read_text()) == json.loads((new / "metrics.json").read_text())
    assert (again / "results.csv").read_text() == (new / "results.csv").read_text()
