"""Scores of edges, each prompt by itself: positive if the edge helps the model to behave as on the clean prompt.

A method is one function, registered under its name: a new one needs a decorator and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from ioi_lab.circuits.checkpoints import NO_CHECKPOINT, Checkpoint
from ioi_lab.circuits.edge_effects import edge_chunks, edge_edits
from ioi_lab.circuits.edge_gradients import IgRule, Objective, gradient_scores
from ioi_lab.circuits.graph import Flags
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.errors import LabError
from ioi_lab.registry import Registry
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.terminal import progress_bar

_AT_ONCE: Final = 64
"""The number of edges that are measured between two checkpoints."""


@dataclass(frozen=True)
class ScoreSettings:
    """The settings that methods read, each those that it needs."""

    objective: Objective = "logit_diff"
    """What an edge should help to keep: the logit difference, or the clean pass's next-token distribution (`kl`)."""

    ig_steps: int = 5
    """The number of points of integrated gradients."""

    ig_rule: IgRule = "end"
    """Which points they are."""

    seed: int = 0
    """Draws random scores."""

    varied: Bool[Flags, "edge"] | None = None
    """The edges that `exact` measures, as it takes long; the others get a score of 0. None for all."""

    checkpoint: Checkpoint = NO_CHECKPOINT
    """Keeps the scores that `exact` has measured."""


EdgeScores = Callable[[CircuitRunner, ScoreSettings], Float[Array, "prompt edge"]]

SCORE_METHODS: Final = Registry[EdgeScores]("edge score")


def kept_by(readout: Readout, objective: Objective) -> Float[Array, "row prompt"]:
    """Return what an objective says of passes; raises a `LabError` for KL if no probabilities were read."""
    if objective == "logit_diff":
        return readout.logit_diff
    if readout.kl is None:
        raise LabError(
            "engine.readout: got 'logit_diff', but intervention.objective=kl reads all probabilities; expected full"
        )
    return -readout.kl


def edge_scores(
    runner: CircuitRunner, method: str = "eap_ig_inputs", settings: ScoreSettings | None = None
) -> Float[Array, "prompt edge"]:
    """Return the score of each edge in each prompt.

    Args:
        runner: Runs the prompts of its engine, and says what ablated edges carry.
        method: The name of a registered method, such as `exact` or `eap`.
        settings: What methods read; None for the defaults.

    Raises a `LabError` for a method that is not registered, and for settings that it cannot work with.

    """
    return SCORE_METHODS[method](runner, settings or ScoreSettings())


@SCORE_METHODS.register("exact")
def exact(runner: CircuitRunner, settings: ScoreSettings) -> Float[Array, "prompt edge"]:
    """Return m(all edges) − m(all edges but one), measured edge by edge."""
    engine, n_edges = runner.engine, runner.graph.n_edges
    whole = kept_by(engine.baseline("clean"), settings.objective)[0]
    scores, done = np.zeros((len(engine.prompts), n_edges)), np.zeros(n_edges, dtype=bool)
    if settings.varied is not None:
        done[~settings.varied] = True
    if (state := settings.checkpoint.load()) is not None:
        scores, done = state["scores"], state["done"].astype(bool)
    with progress_bar(n_edges, "edges", unit="edge", initial=int(done.sum())) as bar:
        chunks = edge_chunks(runner, np.flatnonzero(~done).tolist())
        for chunk in (each[at : at + _AT_ONCE] for each in chunks for at in range(0, len(each), _AT_ONCE)):
            readout = engine.run(edge_edits(runner, chunk), "clean", progress=False)
            scores[:, chunk] = (whole - kept_by(readout, settings.objective)).T
            done[chunk] = True
            settings.checkpoint.save({"scores": scores, "done": done.astype(np.float64)})
            bar.update(len(chunk))
    return scores


@SCORE_METHODS.register("eap")
def eap(runner: CircuitRunner, settings: ScoreSettings) -> Float[Array, "prompt edge"]:
    """Return edge attribution patching: gradients of the clean pass (Syed et al. 2023, arXiv 2310.10348)."""
    return gradient_scores(runner, "eap", settings.objective)


@SCORE_METHODS.register("eap_ig_inputs")
def eap_ig_inputs(runner: CircuitRunner, settings: ScoreSettings) -> Float[Array, "prompt edge"]:
    """Return it with gradients along the way between the two inputs (Hanna et al. 2024, arXiv 2403.17806)."""
    return gradient_scores(runner, "eap_ig_inputs", settings.objective, settings.ig_steps, settings.ig_rule)


@SCORE_METHODS.register("eap_ig_activations")
def eap_ig_activations(runner: CircuitRunner, settings: ScoreSettings) -> Float[Array, "prompt edge"]:
    """Return it with gradients along the way of one layer's writers at a time (Marks et al. 2024, arXiv 2403.19647)."""
    return gradient_scores(runner, "eap_ig_activations", settings.objective, settings.ig_steps, settings.ig_rule)


@SCORE_METHODS.register("clean_corrupted")
def clean_corrupted(runner: CircuitRunner, settings: ScoreSettings) -> Float[Array, "prompt edge"]:
    """Return it with the mean of the gradients at both ends (as in the code of Hanna et al. 2024)."""
    return gradient_scores(runner, "clean_corrupted", settings.objective)


@SCORE_METHODS.register("random")
def random(runner: CircuitRunner, settings: ScoreSettings) -> Float[Array, "prompt edge"]:
    """Return scores drawn at random, the same in all prompts: what other methods have to beat."""
    drawn = np.random.default_rng(settings.seed).standard_normal(runner.graph.n_edges)
    return np.tile(drawn, (len(runner.engine.prompts), 1))
