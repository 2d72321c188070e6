"""The tuned lens: the logit lens with a trained affine translator per layer before the final norm.

Method: Belrose et al. 2023 (arXiv 2303.08112).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.lenses.base import FittedLens, Lens
from ioi_lab.lenses.logit import Translators, lens_log_probs
from ioi_lab.storage.files import check_user_file

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge

    from ioi_lab.engine.edits import Site
    from ioi_lab.engine.engine import Engine


class TunedLens(Lens[Translators]):
    """The tuned lens, whose translators are trained on the file `text` or read from the file `translators`.

    Training evaluates the translators every `evaluate_every` steps on a part of the text that they are not trained on.
    It ends after `patience` evaluations without an improvement, or after `steps` steps, and keeps the best state.
    `batch` (positions of the text per step), `learning_rate` and `seed` are those of the training too. A run that
    trains translators leaves them as `translators.safetensors`.
    """

    name: str = "tuned"
    text: str | None = None
    translators: str | None = None
    steps: int = Field(3000, ge=1)
    evaluate_every: int = Field(50, ge=1)
    patience: int = Field(4, ge=1)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(0.001, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in ("text", "translators") if getattr(self, name) is not None]
        if len(given) != 1:
            raise LabError(
                "lens.text: the tuned lens takes either a file to train on (lens.text) or trained translators "
                f"(lens.translators), got {'both' if given else 'neither'}"
            )
        return self

    @override
    def check(self) -> None:
        for name in ("text", "translators"):
            path = getattr(self, name)
            if path is not None:
                check_user_file(Path(path), f"lens.{name}")

    @override
    def fit(self, engine: Engine, sites: Sequence[Site]) -> FittedLens[Translators]:
        from ioi_lab.lenses.training import Training, train_translators
        from ioi_lab.lenses.translators import load_translators, save_translators

        if self.translators is not None:
            return FittedLens(load_translators(Path(self.translators), engine.model, sites))
        text = Path(str(self.text))
        training = Training(self.steps, self.batch, self.learning_rate, self.seed, self.evaluate_every, self.patience)
        trained = train_translators(engine, sites, text, training)
        saved = save_translators(trained.translators, engine.model, text, training)
        return FittedLens(trained.translators, trained.held_out, {"translators.safetensors": saved}, trained.curve)

    @override
    def log_probs(
        self,
        state: Translators,
        bridge: TransformerBridge,
        stream: Float[Tensor, "site place d_model"],
        sites: Sequence[Site],
    ) -> Float[Tensor, "site place vocab"]:
        return lens_log_probs(bridge, stream, sites, state)
