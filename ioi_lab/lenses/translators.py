"""The translators of the tuned lens: an affine map per layer, trained so that the lens reads what the model will say.

Method: Belrose et al. 2023 (arXiv 2303.08112). h becomes h + A h + b before the final norm; A and b start at 0, and
KL(model's output ‖ lens) is minimised over ordinary text.
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
from tqdm import trange

from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.lenses.base import HeldOutKL
from ioi_lab.lenses.logit import Translators, lens_log_probs
from ioi_lab.lenses.reading import kl_divergence
from ioi_lab.stats.metrics import Array
from ioi_lab.storage.files import sha256_of_files
from ioi_lab.storage.tensors import read_tensor_file, tensor_file
from ioi_lab.tasks.text import text_pieces

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel

HELD_OUT: Final = 0.2
"""The share of the text's pieces that is held out."""

MAX_TOKENS: Final = 16384
"""The number of tokens whose activations are kept in memory; the rest of a longer text is not read."""

KIND: Final = "a tuned lens"
_CHUNK: Final = 64


@dataclass(frozen=True)
class Training:
    """The settings of the training: Adam, with a learning rate that falls linearly to 0."""

    steps: int
    batch: int
    """The number of positions of the text per step."""

    learning_rate: float
    seed: int


@dataclass(frozen=True)
class TrainedTranslators:
    """Trained translators and their quality on held-out text."""

    translators: Translators
    held_out: HeldOutKL


def train_translators(engine: Engine, sites: Sequence[Site], text: Path, training: Training) -> TrainedTranslators:
    """Train a translator for each site but the last, which is the model's output.

    Raises a `LabError` for a file that cannot be read or is too short.
    """
    model = engine.model
    pieces = text_pieces(model, text, "lens.text", MAX_TOKENS)
    stream = _residuals(engine.on(pieces), sites)  # [site, piece, pos, d_model]
    n_held_out = max(1, round(HELD_OUT * len(pieces)))
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(training.seed))
    held_out, rest = stream[:, order[:n_held_out]], stream[:, order[n_held_out:]].flatten(1, 2)
    translators = _fit(model, rest, sites, training)
    return TrainedTranslators(
        translators,
        HeldOutKL(
            plain=_kl(model, held_out, sites, {}),
            trained=_kl(model, held_out, sites, translators),
            text=text.name,
            n_tokens=stream.shape[1] * stream.shape[2],
        ),
    )


def save_translators(translators: Translators, model: LabModel, text: Path, training: Training) -> bytes:
    """Return the translators as a safetensors file with their provenance."""
    tensors = {}
    for site, (matrix, bias) in translators.items():
        tensors[f"{site.component}.{site.layer}.matrix"] = matrix
        tensors[f"{site.component}.{site.layer}.bias"] = bias
    settings = {name: str(value) for name, value in vars(training).items()}
    return tensor_file(tensors, model.origin, KIND, text=text.name, text_sha256=sha256_of_files([text]), **settings)


def load_translators(path: Path, model: LabModel, sites: Sequence[Site]) -> Translators:
    """Return the translators of a saved file for each site but the last.

    Raises a `LabError` for translators of another model, and for a site without one.
    """
    key = "lens.translators"
    _, tensors = read_tensor_file(path, model.origin, KIND, key, model.device)
    names = {site: f"{site.component}.{site.layer}" for site in sites[:-1]}
    width = model.shape.d_model
    sizes = {"matrix": (width, width), "bias": (width,)}
    for name in names.values():
        if any(tuple(tensors.get(f"{name}.{part}", torch.empty(0)).shape) != size for part, size in sizes.items()):
            raise LabError(f"{key}: {str(path)!r} has no translator for {name}; it was trained with other sublayers")
    return {site: (tensors[f"{name}.matrix"], tensors[f"{name}.bias"]) for site, name in names.items()}


def _residuals(engine: Engine, sites: Sequence[Site]) -> Float[Tensor, "site piece pos d_model"]:
    start = 1 if engine.model.tokens.prepend_bos else 0  # what follows BOS alone is not text
    sizes = len(sites), len(engine.prompts), engine.prompts.longest - start, engine.shape.d_model
    stream = torch.empty(sizes, device=engine.model.device)
    for rows, activations in engine.stream("clean", sites):
        for index, site in enumerate(sites):
            stream[index, list(rows)] = activations[site][:, start:]
    return stream


def _fit(
    model: LabModel, stream: Float[Tensor, "site place d_model"], sites: Sequence[Site], training: Training
) -> Translators:
    """Train all translators together by Adam, each with a loss of its own."""
    width, device = model.shape.d_model, model.device
    with torch.enable_grad():
        translators = {
            site: (torch.zeros(width, width, device=device), torch.zeros(width, device=device)) for site in sites[:-1]
        }
        parameters = [parameter.requires_grad_() for pair in translators.values() for parameter in pair]
        optimizer = torch.optim.Adam(parameters, lr=training.learning_rate)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=training.steps)
        generator = torch.Generator().manual_seed(training.seed)
        for _ in trange(training.steps, desc="tuned lens", unit="step", disable=None, leave=False):
            places = torch.randint(stream.shape[1], (training.batch,), generator=generator)
            with torch.no_grad():
                final = lens_log_probs(model.bridge, stream[-1:, places], sites[-1:], {})[0]
            optimizer.zero_grad()
            for index, site in enumerate(sites[:-1]):
                own = stream[index : index + 1, places]
                read = lens_log_probs(model.bridge, own, [site], translators, grad=True)[0]
                loss = kl_divergence(final, read).mean()
                loss.backward()
            optimizer.step()
            schedule.step()
    return {site: (matrix.detach(), bias.detach()) for site, (matrix, bias) in translators.items()}


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
