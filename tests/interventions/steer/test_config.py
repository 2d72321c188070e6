"""The config of steering: mistakes, earlier names of its keys, and parts that a user adds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from yaml import safe_dump, safe_load

from ioi_lab.config import instantiate
from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.steer.config import Steer
from ioi_lab.steering.contrasts import CONTRASTS, ContrastPrompt, contrast_kind
from ioi_lab.steering.methods import VECTOR_METHODS, vector_method
from tests.conftest import only_run_folder, run_folders
from tests.interventions.steer.command import metrics, results, steer
from tests.interventions.toy import PROMPTS, SHAPE


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["intervention.scale=nan"], "intervention.scale: got nan, expected 'all' or a finite number"),
        (
            ["intervention.scale=[1,inf]"],
            "intervention.scale: got [1, inf], expected 'all' or a valid number or a finite number",
        ),
        (["intervention.scale=[]"], "intervention.scale: got [], expected"),
        (["intervention.controls=4"], "intervention.controls: got 4, expected greater than or equal to 5"),
        (["intervention.component=q"], "intervention.component: got 'q', expected 'resid_pre', 'resid_post' or 'z'"),
        (["intervention.head=1"], "intervention.head: got 1, but resid_pre has no heads; expected 'all'"),
        (["intervention.method=median"], "intervention.method: got 'median', expected 'mean_difference', 'pca'"),
        (
            ["intervention.component=z", "intervention.method=unembedding"],
            "intervention.method: got 'unembedding', a direction of the residual stream, but the component is z",
        ),
        (["intervention.names=[James]", "intervention.contrast=name_pair"], "intervention.names: got ['James']"),
        (
            ["intervention.names=[James,Xanthippe]", "intervention.contrast=name_pair"],
            "intervention.names: ' Xanthippe' is not exactly one token of this model",
        ),
        (["intervention.vector=nowhere"], "intervention.vector: 'nowhere' is not a file"),
        (["intervention.text=nowhere"], "intervention.text: 'nowhere' is not a file"),
        (["task.n=1"], "intervention.contrast: got 1 prompt, which leaves one side of the split empty"),
        (
            ["task.n=4", "intervention.method=logistic"],
            "intervention.contrast: its positive side has 2 prompts to make the vector from, logistic needs 4 or more",
        ),
        (["intervention.layer=9"], "intervention.layer: got 9, expected 0 to 3 (tiny-gpt2)"),
        (["intervention.position=S3"], "intervention.position: got 'S3', expected one of"),
    ],
)
def test_mistakes_are_one_line(sweep, arguments, line):
    outcome = steer(sweep, *arguments)
    assert outcome.code == 1
    assert line in outcome.error_line


@pytest.mark.parametrize(("key", "value"), [("method", 3), ("method", None), ("contrast", ["clean_corrupt"])])
def test_a_part_that_is_not_named_by_text_is_refused_with_the_choices(key, value):
    registry = {"method": VECTOR_METHODS, "contrast": CONTRASTS}[key]
    with pytest.raises(LabError) as caught:
        Steer.from_config({key: value}, "intervention")
    assert str(caught.value).startswith(f"intervention.{key}: got {value!r}, expected {registry.names[0]!r}")


# Earlier names


def test_a_config_of_an_earlier_version_is_read():
    values = {"_target_": "ioi_lab.interventions.steer.Steer", "name": "steer", "site": "z", "layer": 2}
    assert instantiate(values, "intervention", Intervention) == Steer(component="z", layer=2)


def test_an_earlier_key_next_to_the_new_one_is_refused():
    with pytest.raises(LabError, match=r"^intervention\.site: this key is now intervention\.component$"):
        Steer.from_config({"site": "z", "component": "z"}, "intervention")


def test_an_earlier_key_on_the_command_line_is_named(sweep):
    outcome = steer(sweep, "intervention.site=z")
    assert outcome.error_line == "error: intervention.site: this key is now intervention.component"


def test_a_run_of_an_earlier_version_is_rerun_from_its_folder(sweep, tmp_path):
    assert steer(sweep, "name=new", "intervention.component=z", "intervention.layer=2").code == 0
    new = only_run_folder(tmp_path)
    config = safe_load((new / "config.yaml").read_text())
    config["intervention"]["site"] = config["intervention"].pop("component")
    config["intervention"]["_target_"] = "ioi_lab.interventions.steer.Steer"
    config["name"] = "old"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text(safe_dump(config))
    outcome = sweep("--config-dir", str(tmp_path / "old"), "--config-name", "config")
    assert outcome.code == 0, outcome.err
    (again,) = (run for run in run_folders(tmp_path) if "old" in run.parts)
    assert metrics(again) == metrics(new)
    pd.testing.assert_frame_equal(results(again), results(new))


# Parts that a user adds


@pytest.fixture
def parts(monkeypatch):
    """A vector method and a contrast of a user's own, registered as any module would."""
    for registry in (VECTOR_METHODS, CONTRASTS):
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))

    @vector_method("median_difference", min_prompts=3)
    def median_difference(positive, negative):
        return np.median(positive - negative, axis=0)

    @contrast_kind("corrupt_clean", positive="corrupted", negative="clean side")
    def corrupt_clean(pairs, tokens, names):
        return [ContrastPrompt(pair, pair, sign=1 - 2 * (row % 2)) for row, pair in enumerate(pairs)]


@pytest.mark.usefixtures("parts")
def test_a_vector_method_and_a_contrast_of_ones_own(sweep, tmp_path):
    own = ["intervention.method=median_difference", "intervention.contrast=corrupt_clean"]
    outcome = steer(sweep, *own, "intervention.layer=3")
    assert outcome.code == 0, outcome.err
    assert "steer resid_pre (median difference, corrupt clean)" in outcome.out
    assert "(corrupted " in outcome.out
    assert ", clean side " in outcome.out
    run = only_run_folder(tmp_path)
    assert load_file(run / "vectors.safetensors")["resid_pre.3.END"].norm() > 0
    assert set(pd.read_csv(run / "prompts.csv")["sign"]) == {1, -1}
    outcome = steer(sweep, *own, "task.n=4")
    assert "intervention.contrast: its positive side has 2 prompts to make the vector from, " in outcome.error_line
    assert outcome.error_line.endswith("median_difference needs 3 or more; raise task.n")


def test_the_heads_of_a_circuit_are_steered(tmp_path):
    (tmp_path / "circuit.json").write_text('{"model": "toy", "edges": ["input->a0.h2<q>", "a0.h2->logits"]}')
    steering = Steer(component="z", circuit=str(tmp_path / "circuit.json"), position="END")
    assert steering.sites(SHAPE, PROMPTS) == [Site("z", 0, 2, "END")]
    for changes, line in (
        ({"component": "resid_pre"}, "intervention.component: got 'resid_pre', but a circuit has heads; expected comp"),
        ({"component": "z", "head": 2}, "intervention.head: got 2, but the circuit has its heads already; expected "),
    ):
        with pytest.raises(LabError) as error:
            Steer.from_config({"circuit": "circuit.json"} | changes, "intervention")
        assert str(error.value).startswith(line)
    with pytest.raises(LabError, match=r"^intervention\.circuit: '.*none\.json' is not a file$"):
        Steer(component="z", circuit=str(tmp_path / "none.json")).check()
