"""A lens of one's own: a class in this module and one YAML, chosen on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import Field

from ioi_lab.config import instantiate
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.base import FittedLens, HeldOutKL, Lens
from ioi_lab.lenses.logit import LogitLens, lens_log_probs, read_stream
from ioi_lab.lenses.reading import read_positions, stream_sites
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config, only_run_folder


class MeanShiftLens(Lens[torch.Tensor]):
    """Moves each site's activations so that their mean at END is that of the last layer's, `strength` of the way."""

    name: str = "mean_shift"
    strength: float = Field(1.0, ge=0)

    def fit(self, engine, sites):
        ends = torch.zeros(len(sites), engine.shape.d_model)
        for rows, activations in engine.stream("clean", sites):
            last = len(engine.prompts[rows[0]]) - 1
            ends += torch.stack([activations[site][:, last].sum(0).cpu() for site in sites])
        means = ends / len(engine.prompts)
        n = np.ones((len(sites), 10))
        held_out = HeldOutKL(plain=2 * n, trained=n, text="nothing.txt", n_tokens=640)
        return FittedLens(self.strength * (means[-1] - means), held_out, {"shifts.csv": b"made by a lens of one's own"})

    def log_probs(self, state, bridge, stream, sites):
        return lens_log_probs(bridge, stream + state[:, None].to(stream), sites, {})


class BackwardLens(MeanShiftLens):
    """A lens that does not read the model's output at the last layer."""

    def log_probs(self, state, bridge, stream, sites):
        return lens_log_probs(bridge, -stream, sites, {})


@pytest.fixture
def options(tmp_path, monkeypatch):
    """A folder of Hydra's search path with a YAML per lens of this module."""
    monkeypatch.setenv("IOI_LAB_PLUGINS", __name__)
    folder = tmp_path / "my_conf" / "lens"
    folder.mkdir(parents=True)
    for name, cls in (("mean_shift", MeanShiftLens), ("backward", BackwardLens)):
        keys = {"_target_": f"{__name__}.{cls.__name__}", "name": name, "strength": 1.0}
        (folder / f"{name}.yaml").write_text(json.dumps(keys))
    return f"hydra.searchpath=[file://{folder.parent}]"


def test_a_lens_of_ones_own_is_a_class_and_a_yaml(sweep, tmp_path, options):
    command = ("tracker=none", "task.n=8", "intervention=logit_lens", "intervention.position=END", options)
    outcome = sweep(*command, "lens@intervention.lens=mean_shift", "intervention.lens.strength=0.5")
    assert outcome.code == 0, outcome.err
    assert "the mean shift lens at END, clean prompts:" in outcome.out
    run = only_run_folder(tmp_path)
    assert (run / "shifts.csv").read_bytes() == b"made by a lens of one's own"
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["held_out_kl_plain"], metrics["held_out_kl_tuned"], metrics["text_tokens"]) == (2, 1, 640)
    assert (run / "plots" / "held_out_kl.png").is_file()
    table = pd.read_csv(run / "results.csv")
    expected = _by_hand(strength=0.5)
    assert table[table["run"] == "clean"]["logit_diff"].to_numpy() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def _by_hand(strength):
    """Mean logit differences at END, prompt by prompt, through the bridge's own final norm and unembedding."""
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    prompts = ioi_task(n=8).prompt_pairs(model.tokens)
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(4))]
    ends = []
    for pair in prompts:
        _, cache = model.bridge.run_with_cache(torch.tensor([pair.clean_tokens]), names_filter=names.__contains__)
        ends.append(torch.stack([cache[name][0, -1] for name in names]))
    stream = torch.stack(ends)  # [prompt, site, d_model]
    shifted = stream + strength * (stream[:, -1:] - stream).mean(dim=0)
    logits = model.bridge.unembed(model.bridge.ln_final(shifted))
    differences = [
        row[:, pair.answer_id] - row[:, pair.distractor_id] for row, pair in zip(logits, prompts, strict=True)
    ]
    return torch.stack(differences).mean(dim=0).numpy()


def test_its_keys_are_checked_like_any(sweep, options):
    command = ("tracker=none", "intervention=logit_lens", options, "lens@intervention.lens=mean_shift")
    outcome = sweep(*command, "intervention.lens.strength=-1")
    assert outcome.code == 1
    assert outcome.error_line == "error: intervention.lens.strength: got -1, expected greater than or equal to 0"


def test_a_lens_must_end_at_the_models_output(sweep, options):
    outcome = sweep("tracker=none", "task.n=4", "intervention=logit_lens", options, "lens@intervention.lens=backward")
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: intervention.lens: at the last layer this lens does not give")


def test_a_class_that_is_not_a_lens_is_refused():
    with pytest.raises(
        LabError, match=r"^lens\._target_: got 'ioi_lab\.config\.Path', expected .* that inherits Lens$"
    ):
        instantiate({"_target_": "ioi_lab.config.Path"}, "lens", Lens)


def test_a_lens_without_its_methods_cannot_be_made():
    class Half(Lens):
        def fit(self, engine, sites):
            return FittedLens(None)

    with pytest.raises(TypeError, match="log_probs"):
        Half(name="half")


def test_the_plain_lens_is_its_function():
    model = load_model(model_config(tiny_folder("tiny-pythia")))
    engine = Engine(model, ioi_task(n=3).prompt_pairs(model.tokens))
    sites = stream_sites(model.shape, sublayers=False)
    lens = LogitLens()
    fitted = lens.fit(engine, sites)
    assert (fitted.held_out, fitted.files) == (None, {})
    read = read_positions(engine, "clean", sites, ["END"], partial(lens.log_probs, fitted.state, model.bridge))
    assert read.logit_diff == pytest.approx(read_stream(engine, "clean", sites, ["END"], {}).logit_diff, abs=0)


def test_lenses_are_imported_without_torch():
    code = (
        "import sys, ioi_lab.lenses.logit, ioi_lab.lenses.tuned, ioi_lab.interventions.logit_lens.config, "
        "ioi_lab.interventions.attention.config; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'matplotlib', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
