"""The training of a map by AdamW, with early stopping, a curve of its losses, and a state from which it goes on.

Everything that is drawn depends on the seed and on the number of the step, so that a training that was interrupted goes
on to the same map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array
from ioi_lab.terminal import progress_bar

BatchT = TypeVar("BatchT")
Parameters = Mapping[str, Tensor]

LEAST_FALL: Final = 0.005
"""A fall of the stopping loss by a smaller share than this does not count as an improvement."""

_TOLERATED_RISE: Final = 0.1
_TOLERATED_LOSS: Final = 0.02
"""A loss on the training texts that ends above its start by more than this share and this number has diverged: AdamW's
steps have about the same length however small the gradient, so a start at a minimum rises a little."""


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training: the keys of `conf/alignment/` of the same names."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    evaluate_every: int
    patience: int
    seed: int


@dataclass(frozen=True)
class Objective(Generic[BatchT]):
    """What is trained: parameters to start from, and a mean loss of batches."""

    start: Parameters
    batches: Callable[[int], Sequence[BatchT]]
    """The batches of an epoch, given its seed; each epoch has as many."""

    loss: Callable[[Parameters, BatchT], Tensor]
    """The mean loss over the positions of a batch."""

    training: Sequence[BatchT]
    """Some of the texts that are trained on, for the curve."""

    stopping: Sequence[BatchT]
    """The texts that show when to stop, which are not trained on."""

    sizes: Callable[[BatchT], int]
    """The number of positions of a batch."""


@dataclass(frozen=True)
class LossCurve:
    """The losses at each evaluation."""

    steps: Int[NDArray[np.int_], "evaluation"]
    """The number of steps before each evaluation."""

    training: Float[Array, "evaluation"]
    stopping: Float[Array, "evaluation"]
    kept: int
    """The index of the evaluation whose parameters are kept: the lowest stopping loss."""

    has_converged: bool
    """Whether training ended because the stopping loss had stopped falling, and not at the maximum number of steps."""

    @property
    def rows(self) -> list[dict[str, float]]:
        """The columns of `training.csv`, for each evaluation."""
        columns = zip(self.steps.tolist(), self.training.tolist(), self.stopping.tolist(), strict=True)
        return [
            {"step": step, "training_loss": training, "stopping_loss": stopping, "kept": int(index == self.kept)}
            for index, (step, training, stopping) in enumerate(columns)
        ]


@dataclass
class TrainingState:
    """A training after a number of steps, just after an evaluation."""

    parameters: dict[str, Tensor]
    best: dict[str, Tensor]
    moments: dict[str, Tensor] = field(default_factory=dict)
    """AdamW's running means, `<parameter>.exp_avg` and `<parameter>.exp_avg_sq`."""

    step: int = 0
    steps: list[int] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    stopping: list[float] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """The index of the lowest stopping loss."""
        return int(np.argmin(self.stopping))

    def in_vain(self) -> int:
        """Return the number of evaluations since the stopping loss last fell by `LEAST_FALL`."""
        lowest, count = np.inf, 0
        for value in self.stopping:
            lowest, count = (value, 0) if value < (1 - LEAST_FALL) * lowest else (lowest, count + 1)
        return count


def train(
    objective: Objective[Any],
    settings: TrainingSettings,
    what: str,
    state: TrainingState | None = None,
    save: Callable[[TrainingState], None] = lambda state: None,
) -> tuple[Parameters, LossCurve]:
    """Train and return the parameters with the lowest stopping loss, which may be those of the start, and the curve.

    Args:
        objective: What is trained.
        settings: The settings.
        what: What is trained, for the progress bar and for errors.
        state: The state of an interrupted training, to go on from.
        save: Called with the state after each evaluation.

    Raises:
        LabError: The training diverges: a loss is not finite, or that on the training texts ends above its start.

    """
    state = state or TrainingState(_copy(objective.start), _copy(objective.start))
    on_device = {name: tensor.to(objective.start[name].device) for name, tensor in state.parameters.items()}
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in on_device.items()}
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
    )
    _load(optimizer, parameters, state)
    n_batches = len(objective.batches(settings.seed))
    epoch = -1
    batches: Sequence[Any] = []
    with progress_bar(settings.steps, what, unit="step", initial=state.step) as bar:
        while True:
            is_last = state.step == settings.steps
            if (state.step % settings.evaluate_every == 0 or is_last) and state.step not in state.steps:
                _evaluate(objective, parameters, state, settings, what)
                _keep(optimizer, parameters, state)
                save(state)
            has_converged = state.in_vain() >= settings.patience
            if has_converged or is_last:
                break
            if state.step // n_batches != epoch:
                epoch = state.step // n_batches
                batches = objective.batches(settings.seed + epoch)
            loss = _step(objective, parameters, batches[state.step % n_batches], optimizer)
            state.step += 1
            if not np.isfinite(loss):
                _raise_diverged(what, f"the loss after {state.step} steps is not finite", settings)
            bar.update()
    start, end = state.training[0], state.training[-1]
    if end > start + max(_TOLERATED_RISE * start, _TOLERATED_LOSS):
        _raise_diverged(what, f"the loss on the training texts rose from {start:.4g} to {end:.4g}", settings)
    curve = LossCurve(
        np.array(state.steps), np.array(state.training), np.array(state.stopping), state.kept, has_converged
    )
    return state.best, curve


def _step(objective: Objective[Any], parameters: Parameters, batch: Any, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    with torch.enable_grad():
        loss = objective.loss(parameters, batch)
        loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _evaluate(
    objective: Objective[Any], parameters: Parameters, state: TrainingState, settings: TrainingSettings, what: str
) -> None:
    """Add an evaluation to the state, and keep the parameters if their stopping loss is the lowest."""
    losses = []
    for batches in (objective.training, objective.stopping):
        sizes = [objective.sizes(batch) for batch in batches]
        total = sum(float(objective.loss(parameters, batch)) * size for batch, size in zip(batches, sizes, strict=True))
        losses.append(total / sum(sizes))
    if not np.isfinite(losses).all():
        _raise_diverged(what, f"the loss after {state.step} steps is not finite", settings)
    state.steps.append(state.step)
    state.training.append(losses[0])
    state.stopping.append(losses[1])
    if state.kept == len(state.stopping) - 1:
        state.best = _copy(parameters)


def _copy(parameters: Parameters) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in parameters.items()}


def _keep(optimizer: torch.optim.Optimizer, parameters: Parameters, state: TrainingState) -> None:
    state.parameters = _copy(parameters)
    state.moments = {
        f"{name}.{part}": optimizer.state[tensor][part].clone()
        for name, tensor in parameters.items()
        if tensor in optimizer.state
        for part in ("exp_avg", "exp_avg_sq")
    }


def _load(optimizer: torch.optim.Optimizer, parameters: Parameters, state: TrainingState) -> None:
    if state.moments:
        for name, tensor in parameters.items():
            own = {part: state.moments[f"{name}.{part}"].to(tensor, copy=True) for part in ("exp_avg", "exp_avg_sq")}
            optimizer.state[tensor] = {"step": torch.tensor(float(state.step)), **own}


def _raise_diverged(what: str, why: str, settings: TrainingSettings) -> None:
    raise LabError(
        f"alignment.learning_rate: got {settings.learning_rate:g}, but the training of the {what} has diverged: {why}; "
        f"choose a smaller one, such as {settings.learning_rate / 10:g}"
    )
