"""The rows of a grid of sites, and their measured effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.random_sets import RandomSets
from ioi_lab.interventions.recovery import MetricName
from ioi_lab.models.selectors import MIXED
from ioi_lab.models.shape import Component
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import Discoveries
from ioi_lab.stats.metrics import Readout
from ioi_lab.tasks.prompts import Position, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.reports.definitions import Method

Sets = Literal["each", "together", "except"]

_ACTIVATIONS: Final[Mapping[str, str]] = {
    "z": "output",
    "q": "queries",
    "k": "keys",
    "v": "values",
    "pattern": "attention pattern",
    "attn_out": "attention output",
    "mlp_out": "MLP output",
    "resid_pre": "residual stream before a layer",
    "resid_mid": "residual stream between attention and MLP",
    "resid_post": "residual stream after a layer",
}
"""The names of components in sentences."""


def activation_of(component: str) -> str:
    """Return what the activation of a component is called in a sentence: `output` of a head for `z`."""
    return _ACTIVATIONS.get(component, component)


@dataclass(frozen=True)
class Row:
    """One row of the results: the sites that are edited together, and a label such as `9.9` or `layer 3`."""

    sites: Sequence[Site]
    label: str

    @property
    def position(self) -> Position:
        """The position that the row's sites share, or `MIXED`."""
        positions = {site.position for site in self.sites}
        return positions.pop() if len(positions) == 1 else MIXED

    @property
    def site(self) -> Site | None:
        """The row's site, if there is only one."""
        return self.sites[0] if len(self.sites) == 1 else None


@dataclass(frozen=True)
class GridResult(Result):
    """The measured rows of a grid."""

    rows: list[Row]
    readout: Readout
    """What was read of each prompt, row by row; estimated, if the rows are."""

    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, row by row."""

    effect: Estimate
    """The change of recovery, of `metric`, by the edits: recovery itself if the corrupted pass is edited, else
    recovery − 1."""

    ranking: list[int]
    """The rows, from the largest effect (by absolute value) to the smallest."""

    discoveries: Discoveries
    """Which effects are more than chance, given the number of rows."""

    noun: str
    """What a row is: a head, a key/value head, a site or a set."""

    metric: MetricName
    """What effects and their tests are measured in."""

    random_sets: RandomSets | None
    """What a set of heads is compared with."""

    @property
    def top(self) -> list[int]:
        """The rows whose effect is found, from the largest to the smallest."""
        return [row for row in self.ranking if self.discoveries.found[row]]

    @property
    def prompts(self) -> PromptPairs:
        """The prompts that were measured."""
        return self.baselines.prompts


@dataclass(frozen=True)
class GridTitle:
    """What a grid's titles and axes say about its edits."""

    action: str
    """The start of a title, such as `Patching`."""

    component: Component
    details: str
    """The end of that line, such as `denoise: clean → corrupted`."""

    base: Pass
    """The pass that is edited."""

    sets: Sets
    others_are: str | None = None
    """What all heads but the selected ones are replaced by, if the rest of the clean pass runs: a circuit of heads."""

    definition: Mapping[str, str] = field(default_factory=dict)
    """The choices that define what an effect is, which every row of `results.csv` repeats in columns of their own."""

    how: str = "their activation is edited"
    """What is done, as a part of the report's question: `their clean output is written into the corrupted prompt`."""

    methods: Sequence[Method] = ()
    """The definition of the edit, for the report."""

    limits: Sequence[str] = ()
    """What effects of this edit do not show, for the report."""
