"""Knockouts of heads at positions, from which F(C) of a circuit C and F(M) of the whole model follow.

Method: Wang et al. 2022 (arXiv 2211.00593), section 4. A head that is knocked out has its mean output over prompts of
the same sentence and order with three unrelated names (see `ioi_lab.tasks.ioi_references`); F is the mean logit
difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from jaxtyping import Float
from torch import Tensor

from ioi_lab.engine.ablation import ablation_edits
from ioi_lab.engine.edits import Edit, EditSet, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.heads import head_name
from ioi_lab.models.selectors import PlacedCell, all_but_placed
from ioi_lab.stats.metrics import Array


@dataclass(frozen=True, order=True)
class PlacedHead:
    """A head at one position of the prompt: the position of the queries that it acts from."""

    layer: int
    head: int
    position: str

    @property
    def name(self) -> str:
        """The name in configs and tables, such as `9.9@END`."""
        return f"{head_name((self.layer, self.head))}@{self.position}"

    @property
    def cell(self) -> PlacedCell:
        """The head and its position as a cell of a grid."""
        return self.layer, self.head, self.position


class Knockout:
    """Makes and evaluates knockouts of heads on an engine's clean prompts.

    Args:
        engine: The engine, on prompts of `task=ioi`.
        n_reference: The number of reference prompts for each sentence and order of names.
        seed: Draws them.

    """

    def __init__(self, engine: Engine, n_reference: int, seed: int) -> None:
        self._engine = engine
        self._n_reference = n_reference
        self._seed = seed

    @cached_property
    def _means(self) -> dict[tuple[int, int], FromPass | Tensor | None]:
        """What each head is replaced by; measured once, when it is first needed."""
        engine = self._engine
        cells = list(product(engine.shape.layers("z"), range(engine.shape.n_heads)))
        sites = [[Site("z", *cell)] for cell in cells]
        edits = ablation_edits(engine, sites, "mean_by_position", "abc", "clean", self._seed, self._n_reference)
        return {cell: edit.value for cell, (edit,) in zip(cells, edits, strict=True)}

    def of(self, heads: Iterable[PlacedHead]) -> EditSet:
        """Return the edits that knock out some heads at their positions: M∖K."""
        return self._edits([head.cell for head in heads])

    def of_all_but(self, circuit: Iterable[PlacedHead]) -> EditSet:
        """Return the edits that knock out all heads at all positions, except those of a circuit at theirs."""
        return self._edits(all_but_placed([head.cell for head in circuit], "z", self._engine.shape))

    def logit_diffs(self, edit_sets: Sequence[EditSet]) -> Float[Array, "edit_set prompt"]:
        """Return the logit difference of each prompt under each knockout; without edits, that of the whole model."""
        return self._engine.run(edit_sets, "clean").logit_diff

    def _edits(self, cells: Sequence[PlacedCell]) -> EditSet:
        return [
            Edit(Site("z", layer, head, position), "replace", self._means[layer, head])
            for layer, head, position in cells
        ]
