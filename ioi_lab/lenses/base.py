"""The base of all lenses, which read the residual stream as if the model ended there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from typing_extensions import TypeVar

from ioi_lab.config import LabConfig
from ioi_lab.reports.wording import plain
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge

    from ioi_lab.engine.edits import Site
    from ioi_lab.engine.engine import Engine

StateT = TypeVar("StateT", default=Any)


@dataclass(frozen=True)
class HeldOutKL:
    """KL(model's output ‖ lens) in nats, the mean over a piece of text, on which nothing was trained or chosen."""

    plain: Float[Array, "site piece"]
    """That of the logit lens."""

    trained: Float[Array, "site piece"]
    """That of the trained lens."""

    text: str
    """The name of the text file."""

    n_tokens: int
    """The number of tokens that were read, for training and held out."""


@dataclass(frozen=True)
class TrainingCurve:
    """KL(model's output ‖ lens) in nats during a training, on text that is used for nothing but stopping."""

    steps: Int[NDArray[np.int_], "evaluation"]
    """The number of steps before each evaluation."""

    kl: Float[Array, "evaluation site"]
    """The mean over tokens, at each site but the last."""

    kept: int
    """The index of the evaluation whose state is kept: the one with the lowest mean."""

    has_converged: bool
    """Whether training ended because the mean had stopped falling, and not at the maximum number of steps."""

    @property
    def mean(self) -> Float[Array, "evaluation"]:
        """The mean over sites."""
        return np.asarray(self.kl.mean(axis=1))


@dataclass(frozen=True)
class FittedLens(Generic[StateT]):
    """A lens that is ready to read one model at some sites."""

    state: StateT
    """What `Lens.log_probs` needs."""

    held_out: HeldOutKL | None = None
    """The quality of the lens, if it was trained in this run."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files for the run folder, by name."""

    training: TrainingCurve | None = None
    """How the training went, if it was evaluated on the way."""


class Lens(LabConfig, Generic[StateT]):
    """The base of all lenses. The fields of a subclass are its config keys, below `intervention.lens`.

    A lens of your own is a class with two methods in any importable file, and a YAML in a folder `lens/` of Hydra's
    search path that names it as `_target_`. Import torch within the methods only: configs are checked before torch is
    imported. Errors name keys as `lens.…`; they are printed as `intervention.lens.…`.
    """

    name: str
    """The name in titles and tables."""

    @property
    def title(self) -> str:
        """The lens in titles and sentences, such as `tuned lens`."""
        return f"{plain(self.name)} lens"

    @abstractmethod
    def fit(self, engine: Engine, sites: Sequence[Site]) -> FittedLens[StateT]:
        """Prepare the lens for the engine's model and for sites of the residual stream: train it, or read a file.

        The last site is the stream after the last layer. Raises a `LabError` if the lens cannot be prepared.
        """

    @abstractmethod
    def log_probs(
        self,
        state: StateT,
        bridge: TransformerBridge,
        stream: Float[Tensor, "site place d_model"],
        sites: Sequence[Site],
    ) -> Float[Tensor, "site place vocab"]:
        """Return the log-probabilities of the next token that the lens reads from the `stream` at the sites of `fit`.

        `stream` is float32; its places are positions of any prompts. At the last site a lens must give the model's own
        output, from which the divergence at the other sites is measured; every run checks this.
        """
