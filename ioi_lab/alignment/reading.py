"""Reading a corpus with two models: what is kept of it does not grow with it, and outlives an interruption."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.alignment.moments import Moments
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import HELD_OUT, Chunk, Split, chunks_of
from ioi_lab.errors import LabError
from ioi_lab.storage.files import write_bytes
from ioi_lab.storage.tensors import read_any_tensor_file, tensor_file

log = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint.safetensors"
KIND: Final = "an unfinished alignment"
MIN_TEXTS: Final = 20

_CHECKPOINT_SECONDS: Final = 10.0
_CHECKPOINT_SHARE: Final = 20
"""Between two checkpoints goes this many times as long as one takes to write, or longer."""


@dataclass
class Sums:
    """What is kept of a corpus: moments of each fold, and of the held-out texts the means alone."""

    folds: list[Moments]
    shuffled: Moments
    """Of what is fitted on, with the target's activations from other texts."""

    held_out: tuple[Float[Tensor, "source_layer d_source"], Float[Tensor, "target_layer d_target"]]
    n_held_out: int = 0
    """Positions."""

    texts_read: int = 0
    held_out_texts: int = 0

    @classmethod
    def zeros(cls, pairing: Pairing, folds: int) -> Self:
        """Before anything has been read."""
        sizes = pairing.sizes
        device = pairing.models[0].device
        kept = [Moments.zeros(*sizes, "cpu" if device.type == "mps" else device) for _ in range(folds + 1)]
        return cls(kept[:-1], kept[-1], (kept[-1].source.clone(), kept[-1].target.clone()))

    @property
    def n_fitted(self) -> int:
        """Positions in all folds."""
        return int(sum(float(fold.count) for fold in self.folds))

    def add(self, chunk: Chunk, source: Tensor, target: Tensor, seed: list[int]) -> None:
        """Count a chunk in, with its activations of either model `[position, layer, d_model]`."""
        folds = chunk.folds.to(source.device)
        for number, fold in enumerate(self.folds):
            fold.add(source[folds == number], target[folds == number])
        fitted = folds != HELD_OUT
        texts = chunk.texts[fitted.cpu()].numpy()
        partner = torch.from_numpy(_in_other_texts(texts, np.random.default_rng(seed))).to(source.device)
        if len(partner):
            self.shuffled.add(source[fitted], target[fitted][partner])
        for total, held in zip(self.held_out, (source, target), strict=True):
            total.add_(held[~fitted].sum(dim=0))
        self.n_held_out += int((~fitted).sum())
        self.texts_read = chunk.texts_read
        self.held_out_texts += len({piece.text for piece in chunk.pieces if piece.fold == HELD_OUT})

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, for a checkpoint."""
        named = {f"fold.{number}": moments for number, moments in enumerate(self.folds)} | {"shuffled": self.shuffled}
        tensors = {
            f"{name}.{part}": tensor for name, moments in named.items() for part, tensor in vars(moments).items()
        }
        return tensors | {"held_out.source": self.held_out[0], "held_out.target": self.held_out[1]}

    def load(self, tensors: dict[str, Tensor], counts: dict[str, int]) -> None:
        """Take up what a checkpoint holds."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        for name, count in counts.items():
            setattr(self, name, count)


def _in_other_texts(texts: np.ndarray[Any, np.dtype[np.int64]], rng: np.random.Generator) -> Any:
    """For each position one of another text: those of the first half of the texts meet those of the second, at random.

    Nothing, where there is but one text.
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
    """Reads the corpus; `checkpoint` is where it writes what it has, `resume` where an interrupted fit has."""

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

    def read(self) -> Sums:
        """Read the corpus to its end, from where a checkpoint ends.

        Raises a `LabError` for a corpus that is too small or whose texts share no positions, for activations that are
        not finite, and for a checkpoint of another fit.
        """
        sums = Sums.zeros(self._pairing, self._config.folds)
        if self._resume is not None:
            self._take_up(sums, self._resume)
        written, cost = time.monotonic(), 0.0
        for chunk in self.chunks("reading", sums.texts_read):
            source, target = self._pairing.activations(chunk)
            for name, held in zip(self._pairing.names, (source, target), strict=True):
                if not held.isfinite().all():
                    raise LabError(f"corpus: activations of {name} that are not finite")
            sums.add(chunk, source, target, [self._seed, sums.texts_read])
            if time.monotonic() - written > max(_CHECKPOINT_SECONDS, _CHECKPOINT_SHARE * cost):
                cost = self._save(sums)
                written = time.monotonic()
        self._check_enough(sums)
        return sums

    def chunks(self, what: str, start: int = 0) -> Iterator[Chunk]:
        """The corpus in chunks, with a progress bar that says `what` is done."""
        config = self._config
        split = Split(config.held_out, config.folds, self._seed, last=config.positions == "last")
        texts = self._corpus.texts(self._pairing.models[0].tokens)
        with tqdm(desc=what, unit=" texts", initial=start, disable=None, leave=False) as bar:
            for chunk in chunks_of(texts, self._pairing.models, split, start):
                yield chunk
                bar.update(chunk.texts_read - bar.n)

    def _check_enough(self, sums: Sums) -> None:
        if sums.n_fitted + sums.n_held_out == 0:
            raise LabError(
                f"corpus: no token of {self._pairing.names[0]} ends at the same character as one of "
                f"{self._pairing.names[1]} in {self._corpus.title}; there is nothing to align"
            )
        if sums.texts_read < MIN_TEXTS:
            raise LabError(f"corpus: {self._corpus.title} has {sums.texts_read} texts; expected {MIN_TEXTS} or more")
        if any(fold.count == 0 for fold in sums.folds) or sums.n_held_out == 0:
            raise LabError(
                f"alignment.folds: got {self._config.folds}, but with {sums.texts_read} texts a fold or the held-out "
                "part is empty; choose fewer folds or a larger corpus"
            )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with a fit that goes on from it."""
        source, target = self._pairing.models
        identity = {
            "source": source.weights_sha256,
            "target": target.weights_sha256,
            "corpus": self._corpus.model_dump(),
            "seed": self._seed,
            "alignment.site": self._config.site,
            "alignment.source_layers": self._pairing.layers[0],
            "alignment.target_layers": self._pairing.layers[1],
            "alignment.positions": self._config.positions,
            "alignment.held_out": self._config.held_out,
            "alignment.folds": self._config.folds,
        }
        return dict(json.loads(json.dumps(identity)))

    def _save(self, sums: Sums) -> float:
        """Write what has been read so far; returns the seconds that it took."""
        start = time.monotonic()
        if self._checkpoint is not None:
            counts = {name: getattr(sums, name) for name in ("n_held_out", "texts_read", "held_out_texts")}
            identity = {"identity": json.dumps(self._identity()), "counts": json.dumps(counts)}
            model = self._pairing.models[0]
            write_bytes(self._checkpoint, tensor_file(sums.tensors(), model.origin, KIND, **identity))
        return time.monotonic() - start

    def _take_up(self, sums: Sums, path: Path) -> None:
        provenance, tensors = read_any_tensor_file(path, KIND, "resume_from", "cpu")
        identity, counts = (dict(json.loads(provenance[name])) for name in ("identity", "counts"))
        for name, value in self._identity().items():
            if identity.get(name) != value:
                raise LabError(
                    f"resume_from: {str(path)!r} is of another fit: {name} is {identity.get(name)!r} there, "
                    f"{value!r} here"
                )
        sums.load(tensors, counts)
        log.info("going on after %d texts", sums.texts_read)
