"""Models in low precision: their names in titles, and the note on them in summaries."""

from __future__ import annotations

from collections.abc import Mapping

from ioi_lab.models.loading import ModelConfig, precision_of


def title_of(model: ModelConfig) -> str:
    """Return the name of a model with what makes its precision low: `smollm2-135m (Q4_1 weights)`."""
    precision = precision_of(model)
    return model.label if precision is None else f"{model.label} ({precision})"


def in_low_precision(models: Mapping[str, ModelConfig]) -> list[str]:
    """Return the titles of the models whose precision is low; `models` are by their keys in the config.

    If two models have the same name, the last part of each one's key is put in front: `source tiny-gpt2 (bfloat16)`.
    """
    labels = [model.label for model in models.values()]
    return [
        f"{key.rpartition('.')[2]} {title_of(model)}" if labels.count(model.label) > 1 else title_of(model)
        for key, model in models.items()
        if precision_of(model) is not None
    ]
