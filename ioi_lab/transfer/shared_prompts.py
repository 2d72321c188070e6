"""Two models on the same prompts, which are in the tokens of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ioi_lab.alignment.positions import in_other_model
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.steering.contrasts import CONTRASTS, Contrast, ContrastName, ContrastPrompt, contrast_of
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.tokens import Tokens

if TYPE_CHECKING:
    from ioi_lab.engine.memory import MemoryGb
    from ioi_lab.models.loading import LabModel


@dataclass(frozen=True)
class ModelOnPrompts:
    """One model with a contrast's prompts in its tokens; row by row the same prompts as those of the other model."""

    model: LabModel
    contrast: Contrast
    contrast_name: ContrastName
    other_names: tuple[str, ...]
    """Names that the contrast could have been made from as well; none unless it is made from two names."""

    sides: Engine
    """Evaluates the two sides of the contrast, which vectors are made from, of the training prompts."""

    training: Engine
    """Evaluates the training prompts as they are steered; choices are made on them."""

    held_out: Engine
    """Evaluates the prompts that everything is measured on."""

    @classmethod
    def of(
        cls,
        model: LabModel,
        contrast: Contrast,
        contrast_name: ContrastName,
        other_names: tuple[str, ...],
        memory_gb: MemoryGb,
        bootstrap_seed: int,
    ) -> ModelOnPrompts:
        """Return the model with engines for the contrast's prompts; `bootstrap_seed` is the seed of their intervals."""
        training = PromptPairs([prompt.steered for prompt in contrast.training])
        sides, training_engine, held_out = (
            Engine(model, prompts, memory_gb, seed=bootstrap_seed)
            for prompts in (contrast.training_sides, training, contrast.steered)
        )
        return cls(model, contrast, contrast_name, other_names, sides, training_engine, held_out)

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.shape.name


def on_shared_prompts(
    models: tuple[LabModel, LabModel],
    prompts: PromptPairs,
    contrast: ContrastName,
    names: tuple[str, str],
    seed: int,
    memory_gb: MemoryGb,
    bootstrap_seed: int = 0,
) -> tuple[ModelOnPrompts, ModelOnPrompts]:
    """Return both models on those prompts that both can read.

    Args:
        models: The source and the target.
        prompts: Prompt pairs in the tokens of the target.
        contrast: The contrast that vectors are made from, and its two `names` if it is `name_pair`.
        names: See `contrast`.
        seed: The seed of the split into training and held-out prompts.
        memory_gb: The bound on the memory of each engine.
        bootstrap_seed: The seed of the intervals over the prompts.

    Raises:
        LabError: The models share fewer than two prompts, or the source cannot read the two names of `name_pair`.

    """
    first, second = (model.tokens for model in models)
    readable = [pair for pair in prompts if in_other_model(pair, second, first) is not None]
    if len(readable) < 2:
        raise LabError(
            f"intervention.source: of {len(prompts)} prompts, {len(readable)} have an answer and a distractor that are "
            f"single tokens both in {models[0].shape.name} and in {models[1].shape.name}; expected 2 or more"
        )
    in_target = contrast_of(contrast, PromptPairs(readable), second, names, seed)
    training, held_out = (_in_both(part, second, first) for part in (in_target.training, in_target.held_out))
    if not training or not held_out:
        raise LabError(
            f"intervention.contrast: {contrast} gives no prompts that {models[0].shape.name} and "
            f"{models[1].shape.name} both read with the names as single tokens"
        )
    other_names = _other_names(readable, contrast, names)
    source, target = (
        ModelOnPrompts.of(
            model,
            replace(
                in_target,
                training=tuple(both[index] for both in training),
                held_out=tuple(both[index] for both in held_out),
                n_dropped=len(prompts) - len(training) - len(held_out),
            ),
            contrast,
            other_names,
            memory_gb,
            bootstrap_seed,
        )
        for index, model in enumerate(models)
    )
    return source, target


def _other_names(prompts: Sequence[PromptPair], contrast: ContrastName, names: tuple[str, str]) -> tuple[str, ...]:
    """Return the answers and distractors of the prompts, in their order, without the names of the contrast."""
    if not CONTRASTS[contrast].replaces_names:
        return ()
    of_prompts = dict.fromkeys(name for pair in prompts for name in (pair.answer.strip(), pair.distractor.strip()))
    return tuple(name for name in of_prompts if name not in {own.strip() for own in names})


def _in_both(
    prompts: Sequence[ContrastPrompt], tokens: Tokens, other: Tokens
) -> list[tuple[ContrastPrompt, ContrastPrompt]]:
    """Return each prompt in the other model's tokens and as it is, without those that the other model cannot read."""
    both = []
    for prompt in prompts:
        steered, sides = (in_other_model(pair, tokens, other) for pair in (prompt.steered, prompt.sides))
        if steered is not None and sides is not None:
            both.append((replace(prompt, steered=steered, sides=sides), prompt))
    return both
