"""The training of the tuned lens: an affine map per layer, so that the lens reads what the model will say.

Method: Belrose et al. 2023 (arXiv 2303.08112). h becomes h + A h + b before the final norm; A and b start at 0, and
KL(model's output ‖ lens) is minimised over ordinary text. The text is split into three parts: one to train on, one on
which the divergence shows when to stop and which state to keep, and one on which the result is compared with the plain
lens, which nothing was chosen on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.engine.edits import Site
from ioi_lab.lenses.base import HeldOutKL, TrainingCurve
from ioi_lab.lenses.logit import Translators, lens_log_probs
from ioi_lab.lenses.reading import kl_divergence
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.text import text_pieces
from ioi_lab.terminal import progress_bar

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel

HELD_OUT: Final = 0.2
"""The share of the text's pieces on which the lens is compared with the plain one."""

STOPPING: Final = 0.1
"""The share of the text's pieces that shows when to stop."""

MAX_STOPPING_TOKENS: Final = 1024
"""The number of tokens of these pieces that are read at each evaluation; the rest is not used."""

MAX_TOKENS: Final = 16384
"""The number of tokens whose activations are kept in memory; the rest of a longer text is not read."""

LEAST_FALL: Final = 0.005
"""A fall of the KL by a smaller share than this does not count as an improvement."""

_CHUNK: Final = 64


@dataclass(frozen=True)
class Training:
    """The settings of the training, which is by Adam."""

    steps: int
    """The maximum."""

    batch: int
    """The number of positions of the text per step."""

    learning_rate: float
    seed: int
    evaluate_every: int
    """The number of steps between two evaluations."""

    patience: int
    """The number of evaluations without an improvement after which training ends."""


@dataclass(frozen=True)
class TrainedTranslators:
    """Trained translators, how their training went, and their quality on held-out text."""

    translators: Translators
    curve: TrainingCurve
    held_out: HeldOutKL


def train_translators(engine: Engine, sites: Sequence[Site], text: Path, training: Training) -> TrainedTranslators:
    """Train a translator for each site but the last, which is the model's output.

    Raises a `LabError` for a file that cannot be read or is too short.
    """
    model = engine.model
    pieces = text_pieces(model, text, "lens.text", MAX_TOKENS)
    stream = _residuals(engine.on(pieces), sites)  # [site, piece, pos, d_model]
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(training.seed))
    n_held_out, n_stopping = (max(1, round(share * len(pieces))) for share in (HELD_OUT, STOPPING))
    held_out, stopping, rest = (
        stream[:, some] for some in order.split([n_held_out, n_stopping, len(pieces) - n_held_out - n_stopping])
    )
    stopping = stopping[:, : max(1, MAX_STOPPING_TOKENS // stream.shape[2])]
    translators, curve = _fit(model, rest.flatten(1, 2), stopping, sites, training)
    return TrainedTranslators(
        translators,
        curve,
        HeldOutKL(
            plain=_kl(model, held_out, sites, {}),
            trained=_kl(model, held_out, sites, translators),
            text=text.name,
            n_tokens=stream.shape[1] * stream.shape[2],
        ),
    )


class Plateau:
    """Recognises that a number has stopped falling: `patience` evaluations in a row without a fall by `LEAST_FALL`."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._lowest = np.inf
        self._in_vain = 0

    def reached_with(self, value: float) -> bool:
        """Take the next value into account, and return whether the plateau is reached."""
        if value < (1 - LEAST_FALL) * self._lowest:
            self._lowest, self._in_vain = value, 0
        else:
            self._in_vain += 1
        return self._in_vain >= self._patience


def _residuals(engine: Engine, sites: Sequence[Site]) -> Float[Tensor, "site piece pos d_model"]:
    start = 1 if engine.model.tokens.prepend_bos else 0  # what follows BOS alone is not text
    sizes = len(sites), len(engine.prompts), engine.prompts.longest - start, engine.shape.d_model
    stream = torch.empty(sizes, device=engine.model.device)
    for rows, activations in engine.stream("clean", sites):
        for index, site in enumerate(sites):
            stream[index, list(rows)] = activations[site][:, start:]
    return stream


def _fit(
    model: LabModel,
    stream: Float[Tensor, "site place d_model"],
    stopping: Float[Tensor, "site piece pos d_model"],
    sites: Sequence[Site],
    training: Training,
) -> tuple[Translators, TrainingCurve]:
    """Train all translators together, each with a loss of its own; keep the state with the lowest mean KL.

    The state before the first step is one of the candidates: it is that of the plain lens.
    """
    width, device = model.shape.d_model, model.device
    state = {site: (torch.zeros(width, width, device=device), torch.zeros(width, device=device)) for site in sites[:-1]}
    parameters = [parameter.requires_grad_() for pair in state.values() for parameter in pair]
    optimizer = torch.optim.Adam(parameters, lr=training.learning_rate)
    generator = torch.Generator().manual_seed(training.seed)
    plateau, is_reached = Plateau(training.patience), False
    kept, kept_at = _copy(state), 0
    steps, kls = [], []
    with progress_bar(training.steps + 1, "tuned lens", unit="step") as bar:
        for step in range(training.steps + 1):
            if step % training.evaluate_every == 0 or step == training.steps:
                steps.append(step)
                kls.append(_kl(model, stopping, sites, _copy(state))[:-1].mean(axis=1))
                if kls[-1].mean() < kls[kept_at].mean():
                    kept, kept_at = _copy(state), len(kls) - 1
                is_reached = plateau.reached_with(float(kls[-1].mean()))
                if is_reached:
                    break
            if step < training.steps:
                places = torch.randint(stream.shape[1], (training.batch,), generator=generator)
                _step(model, stream[:, places], sites, state, optimizer)
            bar.update()
    return kept, TrainingCurve(np.array(steps), np.array(kls), kept_at, is_reached)


def _copy(state: Translators) -> Translators:
    return {site: (matrix.detach().clone(), bias.detach().clone()) for site, (matrix, bias) in state.items()}


def _step(
    model: LabModel,
    stream: Float[Tensor, "site place d_model"],
    sites: Sequence[Site],
    translators: Translators,
    optimizer: torch.optim.Optimizer,
) -> None:
    with torch.no_grad():
        final = lens_log_probs(model.bridge, stream[-1:], sites[-1:], {})[0]
    optimizer.zero_grad()
    with torch.enable_grad():
        for index, site in enumerate(sites[:-1]):
            read = lens_log_probs(model.bridge, stream[index : index + 1], [site], translators, grad=True)[0]
            kl_divergence(final, read).mean().backward()
    optimizer.step()


def _kl(
    model: LabModel, stream: Float[Tensor, "site piece pos d_model"], sites: Sequence[Site], translators: Translators
) -> Float[Array, "site piece"]:
    """Return KL(model's output ‖ lens), the mean over the positions of each piece."""
    kls = np.empty(stream.shape[:2])
    for piece in range(stream.shape[1]):
        parts = []
        for some in torch.arange(stream.shape[2]).split(_CHUNK):
            final = lens_log_probs(model.bridge, stream[-1:, piece, some], sites[-1:], {})[0]
            kl = []
            for index, site in enumerate(sites):
                read = lens_log_probs(model.bridge, stream[index : index + 1, piece, some], [site], translators)[0]
                kl.append(kl_divergence(final, read))
            parts.append(torch.stack(kl))
        kls[:, piece] = torch.cat(parts, dim=1).mean(dim=1).double().cpu().numpy()
    return kls
