"""`python -m benchmarks.odd_models`: interventions on tiny random models of unusual architectures, against plain hooks.

Each cell is the largest difference between the lab and the plain Hugging Face model, in logits (for what is read, in
activations), or `-` if the lab refuses the intervention; the lines of the refusals are printed below the table. All
else that is raised is a mistake of the lab.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from ioi_lab.engine.ablation import AblationMethod
from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, FromPass, Pass, Site
from ioi_lab.engine.engine import Engine, run_now
from ioi_lab.errors import LabError
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.interventions.attention.config import Attention
from ioi_lab.interventions.attribution_patch import AttributionPatch
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.head_roles.config import HeadRoles
from ioi_lab.interventions.logit_attribution.config import LogitAttribution
from ioi_lab.interventions.logit_lens.config import LogitLens
from ioi_lab.interventions.patch import Patch
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.interventions.steer.config import Steer
from ioi_lab.models.loading import LabModel, ModelConfig, load_model
from ioi_lab.models.shape import COMPONENTS
from ioi_lab.reports.report import ReportContext
from ioi_lab.stats.metrics import Readout
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.prompts import PromptPairs
from tests.odd_models import ODD_MODELS, write_odd_model
from tests.oracle import Change, activation, changed, edited_end_logits, tokens
from tests.path_oracle import frozen

EXACT = 1e-4
"""The largest difference that counts as rounding."""

SAMPLED = 4
"""The number of edit sets of each intervention that are compared."""

HYBRIDS = {"jamba": 3}
"""The last layer with attention, of models in which that is not the last layer."""


def interventions(last: int) -> dict[str, Intervention[Any]]:
    """Return the interventions by name; `last` is the last layer with attention."""
    ablations: tuple[AblationMethod, ...] = ("zero", "mean", "mean_by_position", "resample")
    receivers: dict[str, dict[str, Any]] = {
        "logits": {},
        "q": {"receiver_input": "q", "receiver": [f"{last}.1"]},
        "k": {"receiver_input": "k", "receiver": [f"{last}.1"]},
        "v": {"receiver_input": "v", "receiver": [f"{last}.1"]},
        "qkv": {"receiver_input": ["q", "k", "v"], "receiver": [f"{last}.1"]},
        "mlp": {"receiver_input": "mlp", "receiver": [1, 2]},
    }
    return {
        **{f"patch {component}": Patch(component=component) for component in COMPONENTS},
        "patch z at END": Patch(position="END", direction="noise"),
        **{f"ablate z, {method}": Ablate(method=method) for method in ablations},
        "ablate mlp_out, zero": Ablate(component="mlp_out", method="zero"),
        "knockout": Ablate(
            name="knockout", sets="except", method="mean_by_position", reference="abc", n_reference=2, layer=last
        ),
        **{f"path z to {name}": PathPatch(**keys) for name, keys in receivers.items()},
        **{
            f"path z to {name}, free MLPs": PathPatch(mlps="free", **receivers[name]) for name in ("logits", "q", "mlp")
        },
        "path mlp_out to logits": PathPatch(component="mlp_out"),
        "path mlp_out to q": PathPatch(component="mlp_out", **receivers["q"]),
        **{
            f"attribution {component}": AttributionPatch(component=component)
            for component in ("q", "pattern", "z", "resid_mid", "mlp_out", "resid_post")
        },
        "attention": Attention(),
        "logit_lens": LogitLens(),
        "logit_lens, sublayers": LogitLens(sublayers=True),
        "logit_attribution": LogitAttribution(),
        "steer resid_pre": Steer(scale=[-1.0, 2.0], side_effects=0),
        "steer resid_post": Steer(component="resid_post", scale=[2.0], side_effects=0),
        "steer z": Steer(component="z", scale=[2.0], side_effects=0),
        "head_roles": HeadRoles(repeats=8, controls=20, n_reference=2),
    }


@dataclass(frozen=True)
class Setup:
    """A model, the same one without the lab, and prompts."""

    model: LabModel
    plain: PreTrainedModel
    prompts: PromptPairs

    @classmethod
    def of(cls, folder: Path, n_prompts: int = 16) -> Setup:
        """Load a folder twice."""
        model = load_model(ModelConfig(name=folder.name, source="folder", path=str(folder), device="cpu"))
        plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        return cls(model, plain, IOITask(n=n_prompts, corruption="abc", template=0).prompt_pairs(model.tokens))


@dataclass
class Recorder:
    """An executor that keeps what it evaluates."""

    evaluated: list[tuple[PromptPairs, Sequence[EditSet], Pass, Readout]] = field(default_factory=list)

    def __call__(self, engine: Engine, edit_sets: Sequence[EditSet], base: Pass, progress: bool) -> Readout:
        """Evaluate the edit sets at once."""
        readout = run_now(engine, edit_sets, base, False)
        self.evaluated.append((engine.prompts, edit_sets, base, readout))
        return readout


def largest_difference(setup: Setup, intervention: Intervention[Any]) -> float:
    """Run an intervention and return the largest difference from the plain model.

    Raises a `LabError` if the lab refuses it.
    """
    recorder = Recorder()
    engine = Engine(setup.model, setup.prompts).with_executor(recorder)
    result = intervention.measure(engine)
    intervention.report(result, ReportContext(setup.model.config.label, "ioi"))
    differences = [0.0]
    for prompts, edit_sets, base, readout in recorder.evaluated:
        for index in spread(len(edit_sets), SAMPLED):
            row = index % len(prompts)
            logits = edited_end_logits(setup.plain, prompts[row], row, edit_sets[index], base)
            expected = logits[prompts[row].answer_id] - logits[prompts[row].distractor_id]
            differences.append(abs(float(expected) - readout.logit_diff[index, row]))
    if isinstance(intervention, PathPatch):
        differences += path_differences(setup, intervention, engine)
    if isinstance(intervention, AttributionPatch):
        differences += gradient_differences(setup, intervention, engine)
    differences += [read_difference(setup, site) for site in sites_read(intervention, engine)]
    return max(differences)


def spread(size: int, count: int) -> list[int]:
    """Return at most `count` indices below `size`, evenly spread."""
    return sorted({round(index) for index in torch.linspace(0, size - 1, min(size, count)).tolist()})


@torch.no_grad()
def path_differences(setup: Setup, intervention: PathPatch, engine: Engine) -> list[float]:
    """Compare some senders with freezing by hand."""
    rows = intervention.rows(engine.shape, engine.prompts)
    receivers = intervention.receivers(engine.shape)
    if len(receivers) > 1:
        return []
    got = engine.run(intervention.plan(rows, engine), intervention.base, progress=False).logit_diff
    return [
        abs(
            got[index, 0]
            - frozen(
                setup.plain,
                setup.prompts[0],
                rows[index].sites[0],
                receivers[0] if receivers else None,
                intervention.base,
                intervention.source,
                intervention.mlps,
            )
        )
        for index in spread(len(rows), SAMPLED)
    ]


def gradient_differences(setup: Setup, intervention: AttributionPatch, engine: Engine) -> list[float]:
    """Compare some estimates with automatic differentiation of the plain model."""
    base, pair = intervention.base, setup.prompts[0]
    sites = [row.sites[0].whole for row in intervention.rows(engine.shape, engine.prompts)]
    sites = list(dict.fromkeys(sites))
    plan = [[Edit(site, "replace", FromPass(OTHER_PASS[base]))] for site in sites]
    estimated = (engine.estimate(plan, base).logit_diff - engine.baseline(base).logit_diff)[:, 0]
    differences = []
    for site, got in zip(sites, estimated, strict=True):
        here, there = (activation(setup.plain, tokens(pair, run), site) for run in (base, OTHER_PASS[base]))
        leaf = here.clone().requires_grad_()
        with torch.enable_grad(), changed(setup.plain, site, _instead(leaf)):
            logits = setup.plain(tokens(pair, base)).logits[0, -1]
            (gradient,) = torch.autograd.grad(logits[pair.answer_id] - logits[pair.distractor_id], leaf)
        differences.append(abs(float(((there - here) * gradient).sum()) - got))
    return differences


def _instead(leaf: Tensor) -> Change:
    return lambda x: leaf + 0


def sites_read(intervention: Intervention[Any], engine: Engine) -> list[Site]:
    """Return the sites that an intervention reads."""
    from ioi_lab.lenses.reading import stream_sites

    if isinstance(intervention, Attention):
        return [Site("pattern", layer) for layer in range(engine.shape.n_layers) if has(engine, Site("pattern", layer))]
    if isinstance(intervention, LogitLens):
        return stream_sites(engine.shape, sublayers=intervention.sublayers)
    if isinstance(intervention, LogitAttribution):
        sites = [Site(name, layer) for layer in range(engine.shape.n_layers) for name in ("z", "attn_out", "mlp_out")]
        return [site for site in sites if has(engine, site)]
    return []


def has(engine: Engine, site: Site) -> bool:
    """Return whether the model has a site."""
    return site.layer in engine.shape.layers(site.component)


def read_difference(setup: Setup, site: Site) -> float:
    """Return the largest difference between a recorded activation and that of the plain model."""
    prompts = setup.prompts.only(0)
    got = Engine(setup.model, prompts).record("clean", [site])[site][0]
    return float((got - activation(setup.plain, tokens(prompts[0], "clean"), site)).abs().max())


def cell(setup: Setup, intervention: Intervention[Any]) -> tuple[str, str]:
    """Return the text of a cell and, for what is refused or a mistake, the line."""
    try:
        return f"{largest_difference(setup, intervention):.0e}", ""
    except LabError as refused:
        return "-", str(refused) if "\n" not in str(refused) else "NOT ONE LINE"
    except Exception as error:  # what this looks for
        return "ERROR", f"{type(error).__name__}: {error}".splitlines()[0][:200]


def kind_of(text: str) -> str:
    """Return what a cell means."""
    if text in ("-", "ERROR"):
        return {"-": "refused", "ERROR": "mistakes"}[text]
    return "exact" if float(text) <= EXACT else "not exact"


def column(name: str, folder: Path, lines: dict[str, list[str]]) -> dict[str, str]:
    """Return the cells of a model by intervention, and add the lines of those that are refused to `lines`."""
    try:
        setup = Setup.of(write_odd_model(name, folder))
    except LabError as refused:
        lines[str(refused)] = [name]
        return dict.fromkeys(interventions(2), "-")
    cells = {}
    for each, intervention in interventions(HYBRIDS.get(name, setup.model.shape.n_layers - 1)).items():
        cells[each], line = cell(setup, intervention)
        if line:
            lines.setdefault(f"{cells[each]} {line}", []).append(f"{name}: {each}")
    return cells


def main() -> None:
    """Print the table, the lines, and how many cells are exact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(ODD_MODELS), choices=list(ODD_MODELS))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    lines: dict[str, list[str]] = {}
    columns: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            print(name, file=sys.stderr)
            with redirect_stderr(StringIO()):  # progress bars
                columns[name] = column(name, Path(folder), lines)
    width = max(map(len, interventions(2)))
    print(" " * width, *(f"{name[:7]:>7}" for name in columns))
    for each in interventions(2):
        print(f"{each:<{width}}", *(f"{cells[each]:>7}" for cells in columns.values()))
    for line, cells in lines.items():
        print(f"\n{line}\n    {', '.join(cells)}")
    print("\n", dict(Counter(kind_of(text) for cells in columns.values() for text in cells.values())))


if __name__ == "__main__":
    main()
