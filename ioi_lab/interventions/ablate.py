"""Ablation: take a component's information away and see how much of the behaviour goes with it.

Methods: zero; the mean over prompts (Wang et al. 2022, arXiv 2211.00593); resampling (Chan et al. 2022, causal
scrubbing). What is left after zeros is far from anything that the model was trained on: prefer the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from ioi_lab.edits import OTHER_RUN, Edit, FromRun, Run, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.grid import GridIntervention
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from ioi_lab.engine import Engine


class Ablate(GridIntervention):
    """Replace the activation at each site by one that says nothing of the prompt.

    `method`: `zero`; `mean` over all prompts and positions; `mean_by_position` over all prompts at each label, or,
    where sites are not labelled, over prompts of one length at each token index;
    `resample`, another prompt's activation. `reference`: the prompts that means are taken over (`clean` or
    `corrupted`); for `resample` the `corrupted` (or `clean`) twin of each prompt, or a `random` other prompt of the
    same run, and at token indices of the same length. `run`: the run that is edited.
    """

    method: Literal["zero", "mean", "mean_by_position", "resample"]
    reference: Literal["clean", "corrupted", "random"]
    run: Run
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _reference_fits_method(self) -> Ablate:
        if self.method == "resample" and self.reference == self.run:
            raise LabError(
                f"intervention.reference: got {self.reference!r}, the edited run itself, which changes nothing; "
                f"expected {OTHER_RUN[self.run]} or random"
            )
        if self.method.startswith("mean") and self.reference == "random":
            raise LabError(
                f"intervention.reference: got 'random', which is for resample; {self.method} takes clean or corrupted"
            )
        if self.method == "mean" and self.component == "pattern":
            raise LabError(
                "intervention.method: got 'mean', but a pattern's keys differ from position to position; expected "
                "zero, mean_by_position or resample"
            )
        return self

    @property
    def title(self) -> str:
        """Such as `ablate z (mean)`."""
        return f"ablate {self.component} ({self.method.replace('_', ' ')})"

    @property
    def action(self) -> str:
        """`Ablating`."""
        return "Ablating"

    @property
    def details(self) -> str:
        """What is written, and into which run."""
        what = {
            "zero": "zeros",
            "mean": f"mean of {self.reference} prompts",
            "mean_by_position": f"mean of {self.reference} prompts by position",
            "resample": f"{self.reference} {'other prompt' if self.reference == 'random' else 'twin'}",
        }[self.method]
        return f"{what} → {self.run}"

    @property
    def base(self) -> Run:
        """The run that is edited."""
        return self.run

    def editor(self, engine: Engine) -> Callable[[Site], Edit]:
        """Write zeros, means or another prompt's activation."""
        if self.method == "zero":
            return lambda site: Edit(site, "zero")
        source: Run = self.run if self.reference == "random" else self.reference
        if self.method == "resample" and self.reference != "random":
            return lambda site: Edit(site, "replace", FromRun(source))

        @lru_cache(maxsize=1)  # sites come layer by layer
        def recorded(layer: int) -> Float[Tensor, "prompt pos heads_width"]:
            whole = Site(self.component, layer)
            return engine.record(source, [whole])[whole]

        @cache  # sites at several positions share what is written
        def value(layer: int, head: int | None, label: str | None) -> Float[Tensor, "..."]:
            activation = recorded(layer)
            if head is not None:
                activation = activation.unflatten(-1, (engine.shape.heads(self.component), -1))[:, :, head]
            return self._value(activation, label, engine.prompts)

        def edit(site: Site) -> Edit:
            return Edit(site, "replace", value(site.layer, site.head, self._label(site)))

        return edit

    def _label(self, site: Site) -> str | None:
        """The label at which prompts are compared; None: by token index. The keys of patterns line up by index only."""
        is_label = isinstance(site.position, str) and site.position != "all"
        return str(site.position) if is_label and self.method != "mean" and self.component != "pattern" else None

    def _value(
        self, activation: Float[Tensor, "prompt pos width"], label: str | None, prompts: PromptPairs
    ) -> Float[Tensor, "..."]:
        """What is written, from what the site holds in the reference prompts."""
        rows = list(range(len(prompts)))
        places = [prompt.positions(label).start for prompt in prompts] if label else []
        if self.method == "mean":
            return _over_all_positions(activation, prompts)
        if self.method == "mean_by_position":
            return activation[rows, places].mean(dim=0) if label else _by_position(activation, prompts)
        others = _another_prompt(prompts, self.seed, same_length=label is None)
        return activation[others, [places[other] for other in others]] if label else activation[others]


def _over_all_positions(activation: Float[Tensor, "prompt pos width"], prompts: PromptPairs) -> Float[Tensor, "width"]:
    n_positions = sum(len(prompt) for prompt in prompts)
    return activation.sum(dim=(0, 1)) / n_positions  # shorter prompts are filled with zeros


def _by_position(
    activation: Float[Tensor, "prompt pos width"], prompts: PromptPairs
) -> Float[Tensor, "prompt pos width"]:
    """At each token index, the mean over the prompts of the same length."""
    means = activation.clone()
    for length, rows in prompts.buckets().items():
        _check_company(length, rows, "mean_by_position")
        means[rows] = activation[rows].mean(dim=0, keepdim=True)
    return means


def _another_prompt(prompts: PromptPairs, seed: int, *, same_length: bool) -> list[int]:
    """For each prompt, another one, of the same length where positions are token indices: each is used once."""
    rng = np.random.default_rng(seed)
    another = list(range(len(prompts)))
    groups = prompts.buckets() if same_length else {None: list(range(len(prompts)))}
    for length, rows in groups.items():
        _check_company(length, rows, "resample from random prompts")
        shuffled = rng.permutation(rows).tolist()
        for row, successor in zip(shuffled, shuffled[1:] + shuffled[:1], strict=True):
            another[row] = successor
    return another


def _check_company(length: int | None, rows: list[int], method: str) -> None:
    if len(rows) < 2 and length is None:
        raise LabError(f"intervention.method: {method} needs two prompts, but there is one")
    if len(rows) < 2:
        raise LabError(
            f"intervention.method: {method} needs two prompts of each length, but only one has {length} tokens; take "
            "more prompts or one template"
        )
