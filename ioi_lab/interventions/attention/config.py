"""Attention patterns: how much each head attends from END to the names, as Wang et al. 2022 do (arXiv 2211.00593).

Nothing is edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from ioi_lab.engine.edits import Pass
from ioi_lab.errors import LabError
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.interventions.base import Intervention, Measurement, Report, scalars, tidy_table
from ioi_lab.models.heads import HeadName, head_name, heads_of
from ioi_lab.models.selectors import IndexSelector, indices_of
from ioi_lab.reports import plots
from ioi_lab.runs import PastRun
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine.engine import Engine

ELSEWHERE: Final = "elsewhere"
READABLE: Final = 625
"""Above this many cells the numbers in a map would be too small to read."""


@dataclass(frozen=True)
class Observed:
    """Weights of all prompts, the patterns of the one that is shown, and the heads that are drawn large."""

    weights: Array
    """`[layer, head, key, prompt]`, the last key being all other positions."""

    patterns: Array
    """`[layer, head, query_pos, key_pos]`"""

    tokens: list[str]
    heads: list[tuple[int, int]]
    ranked: RankedHeads | None
    """The heads of the patching run, where there is one."""

    pages: list[int]
    """The layers that get a figure."""


class Attention(Intervention):
    """Attention from `query` to each of `keys` and elsewhere, for every head, in the clean or the corrupted `run`.

    `heads` are drawn large: `strongest` (the `k` that attend most to the first key), `top` (the `k` of largest effect
    in the patching run `from_run`), or names. `layer`: which layers get a page of all heads. `prompt`: the index of
    the prompt whose patterns are drawn.
    """

    query: Position
    keys: Annotated[list[Position], Field(min_length=1)]
    run: Pass
    layer: IndexSelector
    heads: Literal["strongest", "top"] | Annotated[list[HeadName], Field(min_length=1)]
    k: Annotated[int, Field(ge=1)]
    from_run: str | None
    prompt: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _top_needs_a_run(self) -> Attention:
        if self.heads == "top" and self.from_run is None:
            raise LabError(
                "intervention.from_run: got None, but heads=top takes its heads from a patching run; give its folder"
            )
        if len(set(self.keys)) < len(self.keys):
            raise LabError(f"intervention.keys: got {self.keys}, where a key stands twice")
        for name, positions in (("query", [self.query]), ("keys", self.keys)):
            if words := {"all", "each", ELSEWHERE}.intersection(positions):
                raise LabError(
                    f"intervention.{name}: got {words.pop()!r}, which is no single position; name a label or an index"
                )
        return self

    @property
    def title(self) -> str:
        """Such as `attention END → IO`."""
        return f"attention {self.query} → {self.keys[0]}" + (" (corrupted)" if self.run == "corrupted" else "")

    def check(self) -> None:
        """Tell a missing or unfinished run before any model is loaded."""
        if self.from_run is not None:
            RankedHeads.of(PastRun.read(self.from_run, "intervention.from_run"), "intervention.from_run")

    def observe(self, engine: Engine) -> Observed:
        """Weights over all prompts, and one prompt's patterns."""
        from ioi_lab.lenses.attention import attention_to, patterns_of

        engine.prompts.check_index(self.prompt, "intervention.prompt")
        for name, position in (("query", self.query), *(("keys", key) for key in self.keys)):
            engine.prompts.check_position(position, f"intervention.{name}", words=())
        pages = indices_of(self.layer, engine.shape.n_layers)
        for layer in pages:
            engine.shape.check_layer(layer, "intervention.layer")
        ranked = self._ranked(engine)
        weights = attention_to(engine, self.run, self.query, self.keys)
        pair = engine.prompts[self.prompt]
        ids = pair.clean_tokens if self.run == "clean" else pair.corrupted_tokens
        return Observed(
            weights=weights,
            patterns=patterns_of(engine, self.run, self.prompt),
            tokens=list(engine.model.tokens.strings(ids)),
            heads=self._large(engine, weights, ranked),
            ranked=ranked,
            pages=pages,
        )

    def report(self, measurement: Measurement) -> Report:
        """A row a head; the layer × head map, pages of patterns, the chosen heads large, and the page to explore."""
        return _Patterns(self, measurement).report()

    def _ranked(self, engine: Engine) -> RankedHeads | None:
        if self.from_run is None:
            return None
        run = PastRun.read(self.from_run, "intervention.from_run")
        run.check_weights(engine.model.weights_sha256, engine.shape.name, "intervention.from_run")
        return RankedHeads.of(run, "intervention.from_run")

    def _large(self, engine: Engine, weights: Array, ranked: RankedHeads | None) -> list[tuple[int, int]]:
        if not isinstance(self.heads, str):
            return heads_of(self.heads, engine.shape, "pattern", "intervention.heads")
        if self.heads == "top" and ranked is not None:
            return ranked.names[: self.k]
        return strongest(weights[:, :, 0].mean(axis=-1), self.k)


class _Patterns:
    """What was seen, as a table, scalars, figures, a page and lines of text."""

    def __init__(self, attention: Attention, measurement: Measurement) -> None:
        self._attention = attention
        self._measurement = measurement
        self._seen: Observed = measurement.observed

    def report(self) -> Report:
        n_layers, n_heads = self._seen.weights.shape[:2]
        selectors = [
            {
                "component": "pattern",
                "layer": layer,
                "head": head,
                "position": self._attention.query,
                "run": self._attention.run,
            }
            for layer in range(n_layers)
            for head in range(n_heads)
        ]
        estimates = {f"to_{key}": estimate for key, estimate in self._estimates.items()}
        return Report(
            table=tidy_table(selectors, estimates),
            metrics=self._metrics(),
            draw=self._figures,
            summary=self._summary(),
            files={"attention.html": self._page().encode()},
        )

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        """By key, over prompts, a row a head."""
        flat = self._seen.weights.reshape(-1, *self._seen.weights.shape[2:])
        keys = [str(key) for key in self._attention.keys] + [ELSEWHERE]
        return {key: self._measurement.bootstrap.mean(flat[:, index]) for index, key in enumerate(keys)}

    @property
    def _means(self) -> Array:
        """From the query to the first key: `[layer, head]`."""
        means: Array = self._seen.weights[:, :, 0].mean(axis=-1)
        return means

    def _metrics(self) -> dict[str, float]:
        metrics = self._measurement.baseline_metrics() | {"n_heads": self._means.size}
        (layer, head), row = self._leading[0], self._row(self._leading[0])
        metrics |= {"best_layer": layer, "best_head": head}
        for key, estimate in self._estimates.items():
            metrics |= scalars(f"best_to_{key}", estimate, row)
        if self._seen.ranked is not None:
            metrics |= {"k": self._k, "overlap": len(self._overlap), "overlap_by_chance": self._overlap_by_chance}
        return metrics

    @property
    def _k(self) -> int:
        return min(self._attention.k, self._means.size)

    @property
    def _leading(self) -> list[tuple[int, int]]:
        """The k heads that attend most to the first key."""
        return strongest(self._means, self._k)

    @property
    def _overlap(self) -> list[tuple[int, int]]:
        """Of the k heads that lead in patching, those that are also among the k that attend most to the first key."""
        ranked = self._seen.ranked
        return [head for head in ranked.names[: self._k] if head in self._leading] if ranked else []

    @property
    def _overlap_by_chance(self) -> float:
        """What the run's top k heads and a random draw of k heads have in common on average."""
        n_top = len(self._seen.ranked.names[: self._k]) if self._seen.ranked else 0
        return n_top * self._k / self._means.size

    def _row(self, head: tuple[int, int]) -> int:
        layer, index = head
        return layer * int(self._seen.weights.shape[1]) + index

    def _summary(self) -> list[str]:
        names = list(self._estimates)
        lines = [
            f"heads by attention from {self._attention.query} to {names[0]}, {self._attention.run} prompts:",
            "  head  " + "".join(f"{name:>11}" for name in names),
        ]
        for head in strongest(self._means, 5):
            values = [self._estimates[name].value[self._row(head)] for name in names]
            lines.append(f"  {head_name(head):<6}" + "".join(f"{value:11.3f}" for value in values))
        if (ranked := self._seen.ranked) is not None:
            top = ranked.names[: self._k]
            told = ", ".join(f"{head_name(head)} ({self._means[head]:.2f})" for head in top)
            lines.append(f"top {len(top)} heads of {ranked.title}, with this attention: {told}")
            among = f"{len(self._overlap)} of them are among the {self._k} that attend most to {names[0]}"
            lines.append(f"{among} ({self._overlap_by_chance:.2f} by chance)")
        return lines

    def _figures(self) -> dict[str, Figure]:
        key = self._attention.keys[0]
        layers, heads = (plots.Axis.numbered(*axis) for axis in zip(("layer", "head"), self._means.shape, strict=True))
        map_title = f"{self._what}\n{self._measurement.data_title}"
        texts = [[f"{value:.2f}" for value in row] for row in self._means] if self._means.size <= READABLE else None
        panel = plots.Panel("", self._means, layers, heads, texts)
        figures = {
            f"attention_to_{_file(key)}": plots.share_maps([panel], map_title, "attention weight, mean over prompts")
        }
        for layer in self._seen.pages:
            figures[f"patterns_layer_{layer:02d}"] = self._layer_page(layer)
        for head in self._seen.heads:
            figures[f"pattern_{head[0]}_{head[1]}"] = self._one_head(head)
        if self._seen.ranked is not None:
            figures["attention_against_effect"] = self._against_effect(self._seen.ranked)
        return figures

    def _layer_page(self, layer: int) -> Figure:
        queries, keys = self._token_axes()
        panels = [
            plots.Panel(f"{layer}.{head}", pattern, queries, keys)
            for head, pattern in enumerate(self._seen.patterns[layer])
        ]
        title = f"Attention patterns of layer {layer}, {self._shown}"
        return plots.share_maps(panels, title, "attention weight", per_row=_columns(len(panels)), cell=(0.17, 0.17))

    def _one_head(self, head: tuple[int, int]) -> Figure:
        pattern = self._seen.patterns[head]
        queries, keys = self._token_axes()
        texts = [[f"{value:.2f}" if value >= 0.005 else "" for value in row] for row in pattern]
        panel = plots.Panel("", pattern, queries, keys, texts if pattern.size <= READABLE else None)
        title = f"Attention pattern of head {head_name(head)}, {self._shown}"
        return plots.share_maps([panel], title, "attention weight", cell=(0.34, 0.26))

    def _against_effect(self, ranked: RankedHeads) -> Figure:
        heads = [divmod(row, self._means.shape[1]) for row in range(self._means.size)]
        measured = [head for head in heads if head in ranked.effects]
        return plots.scatter(
            np.array([self._means[head] for head in measured]),
            np.array([ranked.effects[head] for head in measured]),
            [head_name(head) for head in measured],
            x_label=f"attention from {self._attention.query} to {self._attention.keys[0]}",
            y_label="effect of patching the head\n(share of the logit difference)",
            title=f"{self._what}\nagainst {ranked.title}\n{self._measurement.data_title}",
        )

    def _token_axes(self) -> tuple[plots.Axis, plots.Axis]:
        tokens = [plots.visible(token) for token in self._seen.tokens]
        return plots.Axis("query", tokens), plots.Axis("key", tokens)

    @property
    def _what(self) -> str:
        return f"Attention from {self._attention.query} to {self._attention.keys[0]}, {self._attention.run} prompts"

    @property
    def _shown(self) -> str:
        pair = self._measurement.prompts[self._attention.prompt]
        text = pair.clean if self._attention.run == "clean" else pair.corrupted
        return f"{self._measurement.shape.name}\n{self._attention.run} prompt {text!r}"

    def _page(self) -> str:
        from ioi_lab.reports.pages import attention_page

        pair = self._measurement.prompts[self._attention.prompt]
        start = (self._seen.heads or self._leading)[0]
        return attention_page(
            f"Attention patterns of {self._shown}", self._seen.tokens, pair.labels, self._seen.patterns, start
        )


def strongest(values: Array, k: int) -> list[tuple[int, int]]:
    """Layer and head of the k largest values of `[layer, head]`, the largest first."""
    rows = np.argsort(-values, axis=None, kind="stable")[:k].tolist()
    return [divmod(row, values.shape[1]) for row in rows]


def _columns(n_panels: int) -> int:
    """How many panels stand beside one another: a few in a row, more in a square."""
    return n_panels if n_panels <= 4 else ceil(sqrt(n_panels))


def _file(position: Position) -> str:
    return str(position).replace("+", "_plus_").replace("-", "minus_")
