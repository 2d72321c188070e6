"""The attention of every head from one position to others, the patterns of one prompt, and the heads that lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import Pass
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.lenses.attention import ELSEWHERE, attention_to, patterns_of
from ioi_lab.models.heads import HeadName, heads_of
from ioi_lab.models.selectors import IndexSelector, indices_of
from ioi_lab.runs.past_run import PastRun
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position, PromptPair, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

Head = tuple[int, int]
"""A layer and a head."""

_FROM_RUN: Final = "intervention.from_run"


@dataclass(frozen=True)
class Shown:
    """The prompt whose patterns are drawn, in the pass that was measured."""

    pair: PromptPair
    text: str
    tokens: list[str]
    patterns: Float[Array, "layer head query_pos key_pos"]


@dataclass(frozen=True)
class Comparison:
    """The attention of the heads that lead in a patching run."""

    ranked: RankedHeads
    top: list[Head]
    """The k heads with the largest effect, or all of the run's if it has fewer."""

    overlap: int
    """The number of them that are also among the k heads that attend most to the first key."""

    overlap_by_chance: float
    """The expectation of that number for k heads that are drawn at random."""


@dataclass(frozen=True)
class AttentionResult(Result):
    """The attention of every head from `query` to each of `keys`."""

    which: Pass
    query: Position
    keys: list[Position]
    weights: dict[str, Estimate]
    """By key, and by `elsewhere` for all other positions together, over prompts: one row per head, layer by layer."""

    means: Float[Array, "layer head"]
    """The mean attention to the first key."""

    ranking: list[Head]
    """All heads, from the largest mean attention to the first key to the smallest."""

    leading: list[Head]
    """The first k of them."""

    shown: Shown
    drawn: list[Head]
    """The heads that are drawn large."""

    pages: list[int]
    """The layers that get a page with all heads."""

    comparison: Comparison | None
    """The comparison with a patching run, if one was given."""

    @property
    def prompts(self) -> PromptPairs:
        """The prompts that were measured."""
        return self.baselines.prompts

    def row(self, head: Head) -> int:
        """Return the row of a head in `weights`."""
        return head[0] * int(self.means.shape[1]) + head[1]


def measure_attention(
    engine: Engine,
    which: Pass,
    query: Position,
    keys: Sequence[Position],
    *,
    layer: Literal["of_heads"] | IndexSelector,
    heads: Literal["strongest", "top"] | Sequence[HeadName],
    k: int,
    from_run: str | None,
    prompt: int,
) -> AttentionResult:
    """Measure the attention over all prompts of one pass, and the patterns of one of them.

    Raises a `LabError` for a selector that the model or the prompts do not have, and for a `from_run` of another model.
    """
    baselines = Baselines.measure(engine)
    _, checks = checked_run(engine, [], "clean")
    _check_places(engine, query, keys, prompt)
    pages = None if layer == "of_heads" else _pages(engine, layer)
    ranked = None if from_run is None else _ranked(engine, from_run)
    named = [] if isinstance(heads, str) else heads_of(heads, engine.shape, "pattern", "intervention.heads")
    weights = attention_to(engine, which, query, keys)
    by_head = weights.reshape(-1, *weights.shape[2:])
    names = [*(str(key) for key in keys), ELSEWHERE]
    estimates = {name: engine.bootstrap.mean(by_head[:, index]) for index, name in enumerate(names)}
    means = estimates[names[0]].value.reshape(weights.shape[:2])
    ranking = ranked_by(means)
    leading = ranking[:k]
    comparison = None if ranked is None else _compared(ranked, leading, len(ranking))
    top = comparison.top if comparison is not None and heads == "top" else leading
    drawn = named or top
    return AttentionResult(
        baselines=baselines,
        checks=checks,
        which=which,
        query=query,
        keys=list(keys),
        weights=estimates,
        means=means,
        ranking=ranking,
        leading=leading,
        shown=_shown(engine, which, prompt),
        drawn=drawn,
        pages=sorted({of_head for of_head, _ in drawn}) if pages is None else pages,
        comparison=comparison,
    )


def ranked_by(values: Float[Array, "layer head"]) -> list[Head]:
    """Return all heads, from the largest value to the smallest, without those that are NaN."""
    rows = np.argsort(-values, axis=None, kind="stable").tolist()  # NaN last
    return [divmod(row, values.shape[1]) for row in rows[: np.isfinite(values).sum()]]


def _check_places(engine: Engine, query: Position, keys: Sequence[Position], prompt: int) -> None:
    engine.prompts.check_index(prompt, "intervention.prompt")
    for name, position in (("query", query), *(("keys", key) for key in keys)):
        engine.prompts.check_position(position, f"intervention.{name}", words=())


def _pages(engine: Engine, layer: IndexSelector) -> list[int]:
    """Return the layers that get a page."""
    shape = engine.shape
    pages = shape.layers("pattern") if layer == "all" else indices_of(layer, shape.n_layers)
    for page in pages:
        shape.check_layer(page, "intervention.layer", "pattern")
    return pages


def _ranked(engine: Engine, from_run: str) -> RankedHeads:
    run = PastRun.read(from_run, _FROM_RUN)
    run.check_weights(engine.model.weights_sha256, engine.shape.name, _FROM_RUN)
    return RankedHeads.of(run, _FROM_RUN)


def _compared(ranked: RankedHeads, leading: list[Head], n_heads: int) -> Comparison:
    """Compare the heads that lead in patching with as many that attend most to the first key."""
    top = ranked.heads[: len(leading)]
    return Comparison(
        ranked,
        top,
        overlap=len(set(top) & set(leading)),
        overlap_by_chance=len(top) * len(leading) / n_heads,
    )


def _shown(engine: Engine, which: Pass, prompt: int) -> Shown:
    pair = engine.prompts[prompt]
    ids, text = (pair.clean_tokens, pair.clean) if which == "clean" else (pair.corrupted_tokens, pair.corrupted)
    return Shown(pair, text, list(engine.model.tokens.strings(ids)), patterns_of(engine, which, prompt))
