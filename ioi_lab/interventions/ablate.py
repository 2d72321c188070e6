"""Ablation: remove a component's information and measure how much of the behaviour goes with it.

Methods: zero; means over prompts; the mean by sentence, order and position over prompts with unrelated names (Wang et
al. 2022, arXiv 2211.00593); resampling (Chan et al. 2022, causal scrubbing). After zeros the activations are far from
anything that the model was trained on: prefer the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.circuits.random_sets import random_sets
from ioi_lab.config import Renamed
from ioi_lab.engine.edits import OTHER_PASS, EditSet, Pass
from ioi_lab.errors import LabError
from ioi_lab.interventions.grid import GridIntervention
from ioi_lab.interventions.grid_result import Row, activation_of
from ioi_lab.models.shape import HEAD_COMPONENTS, ModelShape
from ioi_lab.reports.definitions import Method
from ioi_lab.reports.wording import plain
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


class Ablate(GridIntervention):
    """Replace the activation at each site by zeros, a mean over prompts, or another prompt's.

    `method`: `zero`; `mean` over all prompts and positions; `mean_by_position` over all prompts at each label, or, if
    sites are not labelled, over prompts of one length at each token index; `resample`, another prompt's activation.
    `reference`: the prompts that means are taken over (`clean` or `corrupted`); for `mean_by_position` also `abc`:
    `n_reference` prompts of the same sentence and order of names, with three unrelated names, which is the knockout of
    Wang et al. (2022); for `resample` the `corrupted` (or `clean`) twin of each prompt, or a `random` other prompt of
    the same pass, of the same length if positions are token indices. `prompts`: the clean or the corrupted prompts,
    whose pass is edited. `random_sets`: with `sets: together` or `except`, the number of random sets of as many heads
    that the chosen one is compared with.
    """

    action: ClassVar[str] = "Ablating"
    renamed_keys: ClassVar[Mapping[str, Renamed]] = {"run": Renamed("prompts")}

    name: str = "ablate"
    method: Literal["zero", "mean", "mean_by_position", "resample"] = "mean"
    reference: Literal["clean", "corrupted", "random", "abc"] = "corrupted"
    n_reference: int = Field(64, ge=2)
    prompts: Pass = "clean"
    random_sets: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _reference_fits_method(self) -> Self:
        if self.method == "resample" and self.reference == self.prompts:
            raise LabError(
                f"intervention.reference: got {self.reference!r}, the edited pass itself, which changes nothing; "
                f"expected {OTHER_PASS[self.prompts]} or random"
            )
        if self.method.startswith("mean") and self.reference == "random":
            raise LabError(
                f"intervention.reference: got 'random', which is for resample; {self.method} takes clean or corrupted"
            )
        if self.reference == "abc" and self.method in ("mean", "resample"):
            others = "corrupted or clean" if self.method == "mean" else f"{OTHER_PASS[self.prompts]} or random"
            raise LabError(
                f"intervention.reference: got 'abc', which is for mean_by_position; {self.method} takes {others}"
            )
        if self.method == "mean" and self.component == "pattern":
            raise LabError(
                "intervention.method: got 'mean', but a pattern's keys differ from position to position; expected "
                "zero, mean_by_position or resample"
            )
        return self

    @property
    @override
    def title(self) -> str:
        of = " of ABC prompts" if (self.method, self.reference) == ("mean_by_position", "abc") else ""
        return f"ablate {self.component} ({plain(self.method)}{of})"

    @property
    @override
    def details(self) -> str:
        what = {
            "zero": "zeros",
            "mean": f"mean over prompts and positions of the {self.reference} prompts",
            "mean_by_position": self._means_by_position,
            "resample": f"{self.reference} {'other prompt' if self.reference == 'random' else 'twin'}",
        }[self.method]
        return f"{what} → {self.prompts}"

    @property
    @override
    def how(self) -> str:
        where = "" if self.prompts == "clean" else " on the corrupted prompts"
        return f"their {activation_of(self.component)}{where} is replaced by {self._replacement}"

    @property
    def _replacement(self) -> str:
        """What is written instead of an activation, in a sentence."""
        return {
            "zero": "zeros",
            "mean": f"its mean over prompts and positions of the {self.reference} prompts",
            "mean_by_position": f"its {self._means_by_position}",
            "resample": f"that of {'a random other prompt' if self.reference == 'random' else 'the other pass'}",
        }[self.method]

    @property
    @override
    def methods(self) -> Sequence[Method]:
        left = {"zero": "nothing of it is left", "resample": "what it says is about another prompt"}
        what = left.get(self.method, "what it says about this prompt is gone, and what it is on average stays")
        return [
            Method(
                f"Ablation ({plain(self.method)})",
                f"The activation at a site in the {self.prompts} pass is replaced by {self._replacement}, and "
                f"everything after it is computed anew: {what}.",
                "Wang et al. 2022, arXiv 2211.00593; Chan et al. 2022 (causal scrubbing)",
            )
        ]

    @property
    @override
    def limits(self) -> Sequence[str]:
        if self.method != "zero":
            return []
        return ["After zeros, activations are far from any that the model was trained on: part of the effect is that."]

    @property
    def _means_by_position(self) -> str:
        if self.reference == "abc":
            return (
                f"mean by position over {self.n_reference} ABC prompts for each sentence and order (Wang et al. 2022)"
            )
        return f"mean by position over the {self.reference} prompts"

    @property
    @override
    def definition(self) -> Mapping[str, str]:
        return {"method": self.method, "reference": "" if self.method == "zero" else self.reference}

    @property
    @override
    def others_are(self) -> str | None:
        is_circuit = self.sets == "except" and self.prompts == "clean" and self.component == "z"
        if not is_circuit or self.position != "all":
            return None
        return {
            "zero": "zero",
            "mean": f"their mean over prompts and positions of the {self.reference} prompts",
            "mean_by_position": f"their {self._means_by_position}",
            "resample": "their output in another prompt",
        }[self.method]

    @property
    @override
    def base(self) -> Pass:
        return self.prompts

    @override
    def random_rows(self, shape: ModelShape, prompts: PromptPairs) -> list[tuple[int, Row]]:
        if self.sets == "each" or self.component not in HEAD_COMPONENTS or not self.random_sets:
            return []
        heads = [(layer, head) for layer in shape.layers(self.component) for head in range(shape.heads(self.component))]
        chosen = [
            [(layer, head, position) for layer, head, position in places if head is not None]
            for places in self.selected_sets(shape, prompts)
        ]
        return [
            (row, self.row_of(drawn, shape))
            for row, places in enumerate(chosen)
            for drawn in random_sets(places, heads, self.random_sets, self.seed)
        ]

    @override
    def plan(self, rows: Sequence[Row], engine: Engine) -> list[EditSet]:
        from ioi_lab.engine.ablation import ablation_edits

        site_sets = [row.sites for row in rows]
        return ablation_edits(engine, site_sets, self.method, self.reference, self.prompts, self.seed, self.n_reference)
