"""What a lens reads of all prompts, and of the one that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from ioi_lab.engine.edits import OTHER_PASS, Pass, Site
from ioi_lab.errors import LabError, called
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.lenses.logit import check_readout
from ioi_lab.lenses.reading import (
    LensReading,
    LogProbs,
    TopTokens,
    read_positions,
    read_prompt,
    reads_output,
    stream_sites,
)
from ioi_lab.models.selectors import PositionSelector, positions_of
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, Discoveries, discover
from ioi_lab.tasks.prompts import Position, PromptPair, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.base import HeldOutKL, Lens, TrainingCurve

PASSES: Final[tuple[Pass, ...]] = tuple(OTHER_PASS)
MIN_LINEAR: Final = 0.01
"""A linear scale is used if a name has at least this probability at END before the last layer."""


@dataclass(frozen=True)
class ShownPass:
    """What the lens reads at every position of one pass of the prompt that is shown."""

    tokens: list[str]
    top: TopTokens
    texts: list[list[list[str]]]
    """The likeliest tokens, `[site][pos][rank]`."""


@dataclass(frozen=True)
class Shown:
    """The prompt that is shown token by token."""

    pair: PromptPair
    passes: dict[Pass, ShownPass]
    logarithmic: bool
    """Whether the figure draws the probabilities on a logarithmic scale."""


@dataclass(frozen=True)
class HeldOut:
    """KL(model's output ‖ lens) in nats on held-out text, over pieces of text: of the plain and the trained lens."""

    by_site: dict[str, Estimate]
    """By `plain` and `tuned`, one row per site."""

    mean: dict[str, Estimate]
    """By `plain` and `tuned`, the mean over all sites but the last: one row."""

    text: str
    n_tokens: int


@dataclass(frozen=True)
class LogitLensResult(Result):
    """What a lens reads at each site of the stream."""

    sites: list[Site]
    positions: list[Position]
    estimates: dict[Pass, dict[str, Estimate]]
    """By pass and metric, over prompts: one row per site and position."""

    main_position: Position
    """END, if it was read, else the last position."""

    leads_from: Site | None
    """The first site from which on the clean pass's mean logit difference at the main position stays above 0."""

    surely_leads_from: Site | None
    """The same for the whole interval of that mean."""

    discoveries: Discoveries
    """Tests of whether each mean logit difference differs from 0: the rows of both passes, one after the other."""

    shown: Shown
    held_out: HeldOut | None
    """The quality of the lens, if it was trained in this run."""

    training: TrainingCurve | None
    """How its training went."""

    files: dict[str, bytes]
    """What the lens leaves in the run folder."""

    @property
    def prompts(self) -> PromptPairs:
        """The prompts that were measured."""
        return self.baselines.prompts

    def at(self, which: Pass, metric: str, position: Position) -> Estimate:
        """Return a metric at one position: one row per site."""
        return _at(self.estimates[which][metric], self.positions, position)


def measure_lens(
    engine: Engine,
    lens: Lens[Any],
    position: PositionSelector,
    *,
    sublayers: bool,
    prompt: int,
    top_k: int,
    scale: Literal["auto", "log", "linear"],
) -> LogitLensResult:
    """Prepare the lens and read both passes over all prompts.

    Raises a `LabError` for a selector that the model or the prompts do not have, and for a model that the lens cannot
    read.
    """
    baselines = Baselines.measure(engine)
    _, checks = checked_run(engine, [], "clean")
    _check_selectors(engine, sublayers, prompt, top_k)
    positions = _positions(position, engine.prompts)
    sites = stream_sites(engine.shape, sublayers=sublayers)
    for which in PASSES:
        check_readout(engine, which, sites[-1])
    with called("lens", "intervention.lens"):
        fitted = lens.fit(engine, sites)
    log_probs = partial(lens.log_probs, fitted.state, engine.model.bridge)
    _check_output(engine, sites, log_probs)
    readings = {which: read_positions(engine, which, sites, positions, log_probs) for which in PASSES}
    estimates = {which: _estimates(engine, reading) for which, reading in readings.items()}
    main = _main_position(positions, engine.prompts)
    passes = {
        which: _shown_pass(engine, which, prompt, read_prompt(engine, which, prompt, sites, log_probs, top_k))
        for which in PASSES
    }
    at_main = _at(estimates["clean"]["logit_diff"], positions, main)
    return LogitLensResult(
        baselines=baselines,
        checks=checks,
        sites=sites,
        positions=positions,
        estimates=estimates,
        main_position=main,
        leads_from=_leads_from(sites, at_main.value > 0),
        surely_leads_from=_leads_from(sites, at_main.exceeds(0)),
        discoveries=_discoveries(engine, list(readings.values())),
        shown=Shown(engine.prompts[prompt], passes, _is_logarithmic(scale, passes)),
        held_out=None if fitted.held_out is None else _held_out(engine, fitted.held_out),
        training=fitted.training,
        files=dict(fitted.files),
    )


def _check_selectors(engine: Engine, sublayers: bool, prompt: int, top_k: int) -> None:
    if sublayers and engine.shape.parallel:
        raise LabError(
            f"intervention.sublayers: got True, but the blocks of {engine.shape.name} run attention and MLP in "
            "parallel, so nothing lies between them; expected False"
        )
    engine.prompts.check_index(prompt, "intervention.prompt")
    d_vocab = engine.model.bridge.cfg.d_vocab
    if top_k > d_vocab:
        raise LabError(f"intervention.top_k: got {top_k}, expected at most {d_vocab}, the whole vocabulary")


def _check_output(engine: Engine, sites: Sequence[Site], log_probs: LogProbs) -> None:
    if not all(reads_output(engine, which, sites, log_probs) for which in PASSES):
        raise LabError(
            "intervention.lens: at the last layer this lens does not give the model's own output, from which the "
            "divergence at the other layers is measured"
        )


def _positions(selector: PositionSelector, prompts: PromptPairs) -> list[Position]:
    positions = positions_of(selector, prompts)
    if "all" in positions:
        raise LabError("intervention.position: got 'all', but the lens reads one position at a time; expected each")
    return positions


def _main_position(positions: list[Position], prompts: PromptPairs) -> Position:
    ends = [place for place in positions if all(pair.index(place) == len(pair) - 1 for pair in prompts)]
    return ends[0] if ends else positions[-1]


def _estimates(engine: Engine, reading: LensReading) -> dict[str, Estimate]:
    metrics = {name: values.reshape(-1, values.shape[-1]) for name, values in vars(reading).items()}
    accuracy = engine.bootstrap.share((metrics["logit_diff"] > 0).astype(float))
    return {name: engine.bootstrap.mean(values) for name, values in metrics.items()} | {"accuracy": accuracy}


def _at(estimate: Estimate, positions: list[Position], position: Position) -> Estimate:
    return estimate.rows(slice(positions.index(position), None, len(positions)))


def _leads_from(sites: Sequence[Site], leads: Bool[NDArray[np.bool_], "site"]) -> Site | None:
    """Return the first site from which on the answer leads at all sites."""
    behind = np.flatnonzero(~leads)
    first = int(behind[-1]) + 1 if len(behind) else 0
    return sites[first] if first < len(sites) else None


def _discoveries(engine: Engine, readings: Sequence[LensReading]) -> Discoveries:
    rows = np.concatenate([reading.logit_diff.reshape(-1, len(engine.prompts)) for reading in readings])
    return discover(rows, np.ones_like(rows[:1]), engine.bootstrap, ROUNDING)


def _shown_pass(engine: Engine, which: Pass, prompt: int, top: TopTokens) -> ShownPass:
    pair, strings = engine.prompts[prompt], engine.model.tokens.strings
    tokens = pair.token_strings if which == "clean" else strings(pair.corrupted_tokens)
    return ShownPass(list(tokens), top, [[list(strings(ids)) for ids in row] for row in top.ids])


def _is_logarithmic(scale: Literal["auto", "log", "linear"], passes: dict[Pass, ShownPass]) -> bool:
    if scale != "auto":
        return scale == "log"
    tops = [shown.top for shown in passes.values()]
    before_last = [values[-2, -1] for top in tops for values in (top.p_answer, top.p_distractor)]
    return bool(max(before_last) < MIN_LINEAR)


def _held_out(engine: Engine, kl: HeldOutKL) -> HeldOut:
    over_text = engine.bootstrap.over(kl.plain.shape[1])
    lenses = {"plain": kl.plain, "tuned": kl.trained}
    return HeldOut(
        by_site={name: over_text.mean(values) for name, values in lenses.items()},
        mean={name: over_text.mean(values[:-1].mean(axis=0, keepdims=True)) for name, values in lenses.items()},
        text=kl.text,
        n_tokens=kl.n_tokens,
    )
