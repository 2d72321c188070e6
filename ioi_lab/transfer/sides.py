"""Two models on the same prompts: what vectors are made from, and what is steered, in the tokens of either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ioi_lab.alignment.positions import in_other_model
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.steering.contrasts import Contrast, ContrastName, Prompt, contrast_of
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.tokens import Tokens

if TYPE_CHECKING:
    from ioi_lab.engine.memory import MemoryGb
    from ioi_lab.models.loading import LabModel


@dataclass(frozen=True)
class Side:
    """One model with the contrast's prompts in its tokens, row by row the same as the other model's."""

    model: LabModel
    contrast: Contrast
    sides: Engine
    """On the contrast's sides of the training prompts."""

    training: Engine
    """On the training prompts as they are steered."""

    held_out: Engine
    """On the prompts that everything is measured on."""

    @classmethod
    def of(cls, model: LabModel, contrast: Contrast, memory_gb: MemoryGb) -> Side:
        """With engines on the contrast's prompts."""
        sides = contrast.training_sides, PromptPairs([p.steered for p in contrast.training]), contrast.steered
        return cls(model, contrast, *(Engine(model, prompts, memory_gb) for prompts in sides))

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.model.shape.name


def sides_of(
    models: tuple[LabModel, LabModel],
    prompts: PromptPairs,
    contrast: ContrastName,
    names: tuple[str, str],
    seed: int,
    memory_gb: MemoryGb,
) -> tuple[Side, Side]:
    """Both models on `prompts`, which are in the tokens of the second, as far as the first reads them too.

    Raises a `LabError` where it can read too few, or cannot read the two names of `name_pair`.
    """
    first, second = (model.tokens for model in models)
    readable = [pair for pair in prompts if in_other_model(pair, second, first) is not None]
    if len(readable) < 2:
        raise LabError(
            f"intervention.source: of {len(prompts)} prompts, {len(readable)} have an answer and a distractor that are "
            f"single tokens both in {models[0].shape.name} and in {models[1].shape.name}; expected 2 or more"
        )
    own = contrast_of(contrast, PromptPairs(readable), second, names, seed)
    training, held_out = (_in_both(part, second, first) for part in (own.training, own.held_out))
    if not training or not held_out:
        raise LabError(
            f"intervention.contrast: {contrast} gives no prompts that {models[0].shape.name} and "
            f"{models[1].shape.name} both read with the names as single tokens"
        )
    contrasts = [
        replace(
            own,
            training=tuple(both[side] for both in training),
            held_out=tuple(both[side] for both in held_out),
            n_dropped=len(prompts) - len(training) - len(held_out),
        )
        for side in (0, 1)
    ]
    source, target = (Side.of(model, own, memory_gb) for model, own in zip(models, contrasts, strict=True))
    return source, target


def _in_both(prompts: Sequence[Prompt], own: Tokens, other: Tokens) -> list[tuple[Prompt, Prompt]]:
    """Each prompt in the other model's tokens and in its own, as far as the other can read it."""
    both = []
    for prompt in prompts:
        steered, sides = (in_other_model(pair, own, other) for pair in (prompt.steered, prompt.sides))
        if steered is not None and sides is not None:
            both.append((replace(prompt, steered=steered, sides=sides), prompt))
    return both
