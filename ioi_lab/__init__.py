"""Causal experiments on language models, centred on indirect object identification (IOI).

    import ioi_lab as lab

    run = lab.run(model="tiny-gpt2", intervention="patch", task={"n": 32})
    run.table, run.metrics, run.per_prompt, run.figures["recovery_by_head"], run.summary, run.folder

    model = lab.load_model("tiny-gpt2")
    engine = lab.Engine(model, lab.IOITask(n=32).prompt_pairs(model.tokens))
    edit = lab.Edit(lab.Site("z", 3, head=1), "replace", lab.FromPass("clean"))
    engine.run([[edit]], "corrupted").logit_diff  # [edit set, prompt]

Each name is imported when it is first used, so that `import ioi_lab` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.programs import VERSION

if TYPE_CHECKING:
    from ioi_lab.circuits.finding import SearchSettings as SearchSettings
    from ioi_lab.circuits.finding import find_circuits as find_circuits
    from ioi_lab.circuits.graph import Graph as Graph
    from ioi_lab.circuits.runner import CircuitRunner as CircuitRunner
    from ioi_lab.circuits.runner import run_circuits as run_circuits
    from ioi_lab.circuits.scores import ScoreSettings as ScoreSettings
    from ioi_lab.circuits.scores import edge_scores as edge_scores
    from ioi_lab.engine.ablation import ablation_edits as ablation_edits
    from ioi_lab.engine.edits import Edit as Edit
    from ioi_lab.engine.edits import EditSet as EditSet
    from ioi_lab.engine.edits import FromPass as FromPass
    from ioi_lab.engine.edits import Site as Site
    from ioi_lab.engine.engine import Engine as Engine
    from ioi_lab.engine.path_patching import path_patch_edits as path_patch_edits
    from ioi_lab.errors import LabError as LabError
    from ioi_lab.lenses.attention import attention_to as attention_to
    from ioi_lab.lenses.attention import patterns_of as patterns_of
    from ioi_lab.lenses.direct import direct_effects as direct_effects
    from ioi_lab.lenses.logit import LogitLens as LogitLens
    from ioi_lab.lenses.tuned import TunedLens as TunedLens
    from ioi_lab.python.calls import align as align
    from ioi_lab.python.calls import load as load
    from ioi_lab.python.calls import load_runs as load_runs
    from ioi_lab.python.calls import load_sweep as load_sweep
    from ioi_lab.python.calls import run as run
    from ioi_lab.python.calls import study as study
    from ioi_lab.python.calls import sweep as sweep
    from ioi_lab.python.given import load_model as load_model
    from ioi_lab.python.overrides import grid as grid
    from ioi_lab.python.parts import read_lens as read_lens
    from ioi_lab.python.results import Run as Run
    from ioi_lab.python.results import Sweep as Sweep
    from ioi_lab.steering.contrasts import contrast_of as contrast_of
    from ioi_lab.steering.methods import make_vector as make_vector
    from ioi_lab.steering.vectors import activations_at as activations_at
    from ioi_lab.steering.vectors import add_direction as add_direction
    from ioi_lab.tasks.ioi import IOITask as IOITask
    from ioi_lab.tasks.pairs import PairsTask as PairsTask
    from ioi_lab.tasks.prompts import PromptPair as PromptPair
    from ioi_lab.tasks.prompts import PromptPairs as PromptPairs

__version__: Final = VERSION

_MODULES: Final = {
    "circuits.finding": ("SearchSettings", "find_circuits"),
    "circuits.graph": ("Graph",),
    "circuits.runner": ("CircuitRunner", "run_circuits"),
    "circuits.scores": ("ScoreSettings", "edge_scores"),
    "engine.ablation": ("ablation_edits",),
    "engine.edits": ("Edit", "EditSet", "FromPass", "Site"),
    "engine.engine": ("Engine",),
    "engine.path_patching": ("path_patch_edits",),
    "errors": ("LabError",),
    "lenses.attention": ("attention_to", "patterns_of"),
    "lenses.direct": ("direct_effects",),
    "lenses.logit": ("LogitLens",),
    "lenses.tuned": ("TunedLens",),
    "python.calls": ("align", "load", "load_runs", "load_sweep", "run", "study", "sweep"),
    "python.given": ("load_model",),
    "python.overrides": ("grid",),
    "python.parts": ("read_lens",),
    "python.results": ("Run", "Sweep"),
    "steering.contrasts": ("contrast_of",),
    "steering.methods": ("make_vector",),
    "steering.vectors": ("activations_at", "add_direction"),
    "tasks.ioi": ("IOITask",),
    "tasks.pairs": ("PairsTask",),
    "tasks.prompts": ("PromptPair", "PromptPairs"),
}
"""The names of the package, by the modules that they are imported from."""

_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
