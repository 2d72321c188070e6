"""Two models to align, texts that they read, and whole alignments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.alignment import reading
from ioi_lab.alignment.align import align
from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import TinyEnglish
from ioi_lab.alignment.moments import PairMoments
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.positions import Split, chunks_of
from ioi_lab.alignment.reading import Reader
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import model_config


def alignment_config(**changes) -> AlignmentConfig:
    values = {
        "method": "ridge",
        "component": "resid_post",
        "source_layers": "all",
        "target_layers": "all",
        "positions": "all",
        "held_out": 0.2,
        "folds": 3,
        "rank": 8,
        "patience": 100,
    }
    return AlignmentConfig.from_config(values | changes, "alignment")


def tiny_english(n: int = 200, seed: int = 0) -> TinyEnglish:
    return TinyEnglish(name="tiny_english", n=n, seed=seed)


@pytest.fixture
def both():
    """tiny-gpt2 and tiny-pythia."""
    return tuple(load_model(model_config(tiny_folder(name), name=name)) for name in ("tiny-gpt2", "tiny-pythia"))


def write_every_checkpoint(monkeypatch) -> None:
    """Let a checkpoint be written after each chunk of texts, whatever the time it takes."""
    monkeypatch.setattr(reading, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(reading, "_CHECKPOINT_SHARE", 0)


def interrupt_at_third_chunk(monkeypatch) -> list[object]:
    """Press Ctrl-C, once, instead of reading the third chunk of texts. Returns the list of chunks, as they come."""
    write_every_checkpoint(monkeypatch)
    chunks, plain = [], Pairing.activations

    def interrupting(self, chunk):
        chunks.append(chunk)
        if len(chunks) == 3:
            raise KeyboardInterrupt
        return plain(self, chunk)

    monkeypatch.setattr(Pairing, "activations", interrupting)
    return chunks


def aligned(models, config, corpus, **reading_options):
    pairing = Pairing.of(config, models, "auto")
    return align(Reader(pairing, corpus, config, 0, **reading_options), pairing, config)


def all_activations(models, config, corpus):
    """Everything at once: both models' activations and the fold of each position."""
    pairing = Pairing.of(config, models, "auto")
    split = Split(config.held_out, config.folds, 0, last=config.positions == "last")
    chunks = list(chunks_of(corpus.texts(models[0].tokens), models, split))
    activations = [pairing.activations(chunk) for chunk in chunks]
    folds = torch.cat([chunk.folds for chunk in chunks])
    return torch.cat([x for x, _ in activations]), torch.cat([y for _, y in activations]), folds


def correlated(n=400, width=6, other=5, noise=0.5, seed=0):
    """Activations with very unequal variances, far from 0, and others that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width)) * np.geomspace(0.1, 10, width) + 7
    y = x @ rng.standard_normal((width, other)) + noise * rng.standard_normal((n, other)) - 3
    return x, y


def moments(x, y):
    return PairMoments.of(torch.from_numpy(x), torch.from_numpy(y))
