"""Reading a corpus with two models into moments, whose size does not depend on the corpus; with checkpoints."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, Json, NonNegativeInt
from torch import Tensor

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.alignment.maps import MAP_METHODS
from ioi_lab.alignment.moments import Moments
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import HELD_OUT, Chunk, Split, chunks_of
from ioi_lab.alignment.row_sample import RowSample
from ioi_lab.alignment.training_checkpoint import TRAINING
from ioi_lab.errors import LabError
from ioi_lab.storage.files import write_bytes
from ioi_lab.storage.tensors import Metadata, TensorKind
from ioi_lab.terminal import progress_bar

log = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint.safetensors"
MIN_TEXTS: Final = 20
"""The least number of texts that maps are fitted to and tried on."""


class Counts(BaseModel):
    """How much of the corpus a checkpoint has."""

    n_held_out: NonNegativeInt
    texts_read: NonNegativeInt
    held_out_texts: NonNegativeInt


class CheckpointMetadata(Metadata):
    """What a fit that continues from a checkpoint must share with it, and how far that has come."""

    identity: Json[dict[str, Any]]
    counts: Json[Counts]


CHECKPOINTS: Final = TensorKind("an unfinished alignment", CheckpointMetadata, dtype="F64")

_CHECKPOINT_SECONDS: Final = 10.0
_CHECKPOINT_SHARE: Final = 20
"""The time between two checkpoints is at least this many times the time that one takes to write."""


@dataclass
class CorpusMoments:
    """The moments of a corpus that has been read, by fold; of the held-out texts, only sums of activations.

    The names of the counts are those in checkpoints.
    """

    folds: list[Moments]
    shuffled: Moments
    """The moments over all folds, with the target's activations taken from other texts."""

    held_out: tuple[Float[Tensor, "source_layer d_source"], Float[Tensor, "target_layer d_target"]]
    """The sums of both models' activations over the held-out texts."""

    sample: RowSample
    """One position of each of some texts that maps are fitted to."""

    n_held_out: int = 0
    """The number of held-out positions."""

    texts_read: int = 0
    """The number of texts that have been read, with the held-out ones."""

    held_out_texts: int = 0
    """The number of held-out texts."""

    @classmethod
    def zeros(cls, pairing: Pairing, folds: int) -> Self:
        """Return the moments of a corpus of which nothing has been read."""
        sizes = pairing.sizes
        device = pairing.models[0].device
        *in_folds, shuffled = (
            Moments.zeros(*sizes, "cpu" if device.type == "mps" else device) for _ in range(folds + 1)
        )
        sums = shuffled.source.clone(), shuffled.target.clone()
        return cls(in_folds, shuffled, sums, RowSample.empty(*sizes, shuffled.source.device))

    @property
    def n_fitted(self) -> int:
        """The number of positions in all folds."""
        return int(sum(float(fold.count) for fold in self.folds))

    def add(self, chunk: Chunk, source: Tensor, target: Tensor, seed: list[int]) -> None:
        """Add a chunk, given both models' activations `[position, layer, d_model]`; `seed` is that of the shuffling."""
        folds = chunk.folds.to(source.device)
        for number, fold in enumerate(self.folds):
            fold.add(source[folds == number], target[folds == number])
        fitted = folds != HELD_OUT
        texts = chunk.texts[fitted.cpu()]
        self.sample.add(texts, source[fitted], target[fitted], seed[0])
        partner = torch.from_numpy(_in_other_texts(texts.numpy(), np.random.default_rng(seed))).to(source.device)
        if len(partner):
            self.shuffled.add(source[fitted], target[fitted][partner])
        for total, activations in zip(self.held_out, (source, target), strict=True):
            total.add_(activations[~fitted].sum(dim=0))
        self.n_held_out += int((~fitted).sum())
        self.texts_read = chunk.texts_read
        self.held_out_texts += len({piece.text for piece in chunk.pieces if piece.fold == HELD_OUT})

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by their names in a checkpoint."""
        named: dict[str, Moments | RowSample] = {f"fold.{number}": fold for number, fold in enumerate(self.folds)}
        named |= {"shuffled": self.shuffled, "sample": self.sample}
        tensors = {f"{name}.{part}": tensor for name, sums in named.items() for part, tensor in vars(sums).items()}
        return tensors | {"held_out.source": self.held_out[0], "held_out.target": self.held_out[1]}

    def load(self, tensors: Mapping[str, Tensor], counts: Mapping[str, int]) -> None:
        """Replace everything by the contents of a checkpoint."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        for name, count in counts.items():
            setattr(self, name, count)


def _in_other_texts(texts: np.ndarray[Any, np.dtype[np.int64]], rng: np.random.Generator) -> Any:
    """Return a position of another text for each position, drawn at random; nothing if there is only one text.

    Positions in the first half of the texts get one in the second half, and the other way round.
    """
    different = np.unique(texts)
    if len(different) < 2:
        return np.empty(0, dtype=np.int64)
    first = np.flatnonzero(texts < different[len(different) // 2])
    second = np.flatnonzero(texts >= different[len(different) // 2])
    partner = np.empty(len(texts), dtype=np.int64)
    for own, other in ((first, second), (second, first)):
        partner[own] = np.resize(rng.permutation(other), len(own))
    return partner


class Reader:
    """Reads a corpus with both models of a pairing.

    Args:
        pairing: The models and their layers.
        corpus: The texts.
        config: Which positions are read, and how the texts are split.
        seed: The seed of the split and of the shuffled pairs.
        checkpoint: The file that checkpoints are written to; None to write none.
        resume: The checkpoint of an interrupted fit, to continue from.

    """

    def __init__(
        self,
        pairing: Pairing,
        corpus: Corpus,
        config: AlignmentConfig,
        seed: int,
        checkpoint: Path | None = None,
        resume: Path | None = None,
    ) -> None:
        self._pairing = pairing
        self._corpus = corpus
        self._config = config
        self._seed = seed
        self._checkpoint = checkpoint
        self._resume = resume

    def read(self) -> CorpusMoments:
        """Read the corpus to its end, starting where the checkpoint ends, and return its moments.

        Raises a `LabError` for a corpus that is too small or whose texts share no positions, for activations that are
        not finite, and for a checkpoint of another fit.
        """
        moments = CorpusMoments.zeros(self._pairing, self._config.folds)
        if self._resume is not None:
            self._load_checkpoint(moments, self._resume)
        written, cost = time.monotonic(), 0.0
        for chunk in self.chunks("reading", moments.texts_read):
            source, target = self._pairing.activations(chunk)
            for name, activations in zip(self._pairing.names, (source, target), strict=True):
                if not activations.isfinite().all():
                    raise LabError(f"corpus: activations of {name} that are not finite")
            moments.add(chunk, source, target, [self._seed, moments.texts_read])
            if time.monotonic() - written > max(_CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * cost):
                cost = self._save_checkpoint(moments)
                written = time.monotonic()
        self._check_enough(moments)
        if MAP_METHODS[self._config.method].training is not None:
            self._save_checkpoint(moments)  # a training that is interrupted goes on from here
        return moments

    @property
    def seed(self) -> int:
        """The seed of the split and of the shuffled pairs."""
        return self._seed

    @property
    def training_files(self) -> tuple[Path | None, Path | None]:
        """The file that a training is kept in, and the one that it goes on from: next to those of reading."""
        written, resumed = (path and path.with_name(TRAINING) for path in (self._checkpoint, self._resume))
        return written, resumed

    def chunks(self, what: str, start: int = 0) -> Iterator[Chunk]:
        """Yield the corpus in chunks, with a progress bar that is labelled `what`, after skipping `start` texts."""
        config = self._config
        split = Split(config.held_out, config.folds, self._seed, last=config.positions == "last")
        with_labels = config.positions == "labels"
        texts = (self._corpus.labelled_texts if with_labels else self._corpus.texts)(self._pairing.models[0].tokens)
        with progress_bar(self._corpus.at_most, what, unit="text", initial=start) as bar:
            for chunk in chunks_of(texts, self._pairing.models, split, start):
                yield chunk
                bar.update(chunk.texts_read - bar.n)

    def _check_enough(self, moments: CorpusMoments) -> None:
        if moments.n_fitted + moments.n_held_out == 0:
            raise LabError(
                f"corpus: no token of {self._pairing.names[0]} ends at the same character as one of "
                f"{self._pairing.names[1]} in {self._corpus.title}; there is nothing to align"
            )
        if moments.texts_read < MIN_TEXTS:
            raise LabError(f"corpus: {self._corpus.title} has {moments.texts_read} texts; expected {MIN_TEXTS} or more")
        if any(fold.count == 0 for fold in moments.folds) or moments.n_held_out == 0:
            raise LabError(
                f"alignment.folds: got {self._config.folds}, but with {moments.texts_read} texts a fold or the "
                "held-out part is empty; choose fewer folds or a larger corpus"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must share with a fit that continues from it."""
        source, target = self._pairing.models
        identity = {
            "source": source.weights_sha256,
            "target": target.weights_sha256,
            "corpus": self._corpus.model_dump(),
            "seed": self._seed,
            "alignment.site": self._config.component,
            "alignment.source_layers": self._pairing.layers[0],
            "alignment.target_layers": self._pairing.layers[1],
            "alignment.positions": self._config.positions,
            "alignment.held_out": self._config.held_out,
            "alignment.folds": self._config.folds,
        }
        return dict(json.loads(json.dumps(identity)))

    def _save_checkpoint(self, moments: CorpusMoments) -> float:
        """Write a checkpoint and return the seconds that it took."""
        start = time.monotonic()
        if self._checkpoint is not None:
            counts = {name: getattr(moments, name) for name in Counts.model_fields}
            identity = {"identity": json.dumps(self.identity), "counts": json.dumps(counts)}
            model = self._pairing.models[0]
            write_bytes(self._checkpoint, CHECKPOINTS.content(moments.tensors(), model.origin, **identity))
        return time.monotonic() - start

    def _load_checkpoint(self, moments: CorpusMoments, path: Path) -> None:
        file = CHECKPOINTS.read(path, "resume_from")
        identity = file.metadata.identity
        for name, value in self.identity.items():
            if identity.get(name) != value:
                file.refuse(f"belongs to another fit: {name} is {identity.get(name)!r} there, {value!r} here")
        file.check_shapes({name: tuple(tensor.shape) for name, tensor in moments.tensors().items()})
        moments.load(file.tensors, file.metadata.counts.model_dump())
        log.info("continuing after %d texts", moments.texts_read)
