"""Prompts that a model cannot read."""

from __future__ import annotations

from ioi_lab.errors import LabError
from ioi_lab.models.loading import LabModel
from ioi_lab.tasks.prompts import PromptPairs


def check_prompts(model: LabModel, prompts: PromptPairs) -> None:
    """Raise a `LabError` for a prompt that is longer than the model can read, or has a token that it does not have.

    A tokenizer may have more tokens than the model has embeddings, often special ones, which few prompts have.
    """
    name, n_tokens = model.shape.name, model.bridge.cfg.d_vocab
    model.shape.check_length(prompts.longest)
    for pair in prompts:
        largest = max(*pair.clean_tokens, *pair.corrupted_tokens, *pair.answer_ids, *pair.distractor_ids)
        if largest >= n_tokens:
            raise LabError(
                f"model: token {largest} ({model.tokens.strings((largest,))[0]!r}) of a prompt has no embedding, as "
                f"{name} has {n_tokens} tokens and its tokenizer has {len(model.tokens.tokenizer)}; the tokenizer may "
                "be that of another model"
            )
