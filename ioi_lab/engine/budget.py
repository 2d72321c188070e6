"""How many prompts and edit sets fit the memory bound at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.engine.memory import Footprint, MemoryGb, bound_in_bytes, in_gb
from ioi_lab.engine.passes import sites_read
from ioi_lab.errors import LabError
from ioi_lab.models.loading import LabModel
from ioi_lab.tasks.prompts import PromptPairs

RECORDINGS_SHARE: Final = 0.25
"""The share of the memory bound that recordings of unedited passes may take between passes."""


class MemoryBudget:
    """Divides the memory bound of one engine between its recordings and its batches."""

    def __init__(self, model: LabModel, prompts: PromptPairs, memory_gb: MemoryGb) -> None:
        self.bound = bound_in_bytes(memory_gb, model.device)
        self._memory_gb = memory_gb
        self._prompts = prompts
        self._model = model
        self._footprint = Footprint.of(model)

    @property
    def for_recordings(self) -> float:
        """Bytes that recordings of unedited passes may take."""
        return RECORDINGS_SHARE * self.bound

    @property
    def _for_batches(self) -> float:
        return (1 - RECORDINGS_SHARE) * self.bound

    def recordings_fit(self, whole_sites: Iterable[Site], max_bytes: float) -> bool:
        """Return whether the activations of all prompts at these whole sites take at most `max_bytes`."""
        sites = list(whole_sites)
        lengths = self._prompts.buckets().items()
        return sum(len(rows) * self._footprint.recorded_row(sites, 0, length) for length, rows in lengths) <= max_bytes

    def buckets(self, edit_sets: Sequence[EditSet], capture: Sequence[Site]) -> Iterator[Bucket]:
        """Yield buckets of prompts of one length, each with as many as fit the bound with one edit set.

        Raises a `LabError` if not even one prompt fits.
        """
        for length, rows in self._prompts.buckets().items():
            needed = self._held_row(edit_sets, length, capture)
            needed += self._footprint.batch_row(length, length, vocabulary=True)
            size = int(self._for_batches / needed)
            if size == 0:
                self._raise_too_small(
                    f"one edit of one prompt of {length} tokens needs", needed / (1 - RECORDINGS_SHARE)
                )
            yield from self._split(rows, size)

    def gradient_buckets(self, sites: Sequence[Site]) -> Iterator[Bucket]:
        """Yield buckets for passes with gradients at `sites`, whose activations are recorded in both passes."""
        for length, rows in self._prompts.buckets().items():
            needed = self._footprint.backward_row(length) + self._footprint.recorded_row([*sites, *sites], 0, length)
            size = int(self.bound / needed)
            if size == 0:
                self._raise_too_small(f"the gradients of one prompt of {length} tokens need", needed)
            yield from self._split(rows, size)

    def circuit_buckets(self, n_writers: int) -> Iterator[Bucket]:
        """Yield buckets for passes of circuits: what `n_writers` write is kept in both passes and in each circuit.

        Raises a `LabError` if not even one prompt and one circuit fit.
        """
        for length, rows in self._prompts.buckets().items():
            needed = 2 * self._written_row(n_writers, length) + self._circuit_row(n_writers, length)
            size = int(self._for_batches / needed)
            if size == 0:
                self._raise_too_small(
                    f"one circuit on one prompt of {length} tokens needs", needed / (1 - RECORDINGS_SHARE)
                )
            yield from self._split(rows, size)

    def max_circuits(self, bucket: Bucket, n_writers: int) -> int:
        """Return how many circuits fit in a batch on a bucket."""
        free = self._for_batches / len(bucket) - 2 * self._written_row(n_writers, bucket.length)
        return max(1, int(free / self._circuit_row(n_writers, bucket.length)))

    def edge_gradient_buckets(self, n_writers: int) -> Iterator[Bucket]:
        """Yield buckets for passes with gradients at all readers; what `n_writers` write is kept in both passes.

        Raises a `LabError` if not even one prompt fits.
        """
        for length, rows in self._prompts.buckets().items():
            needed = self._footprint.backward_row(length) + 2 * self._circuit_row(n_writers, length)
            size = int(self._for_batches / needed)
            if size == 0:
                self._raise_too_small(
                    f"the gradients of one prompt of {length} tokens need", needed / (1 - RECORDINGS_SHARE)
                )
            yield from self._split(rows, size)

    def _written_row(self, n_writers: int, length: int) -> float:
        """Bytes of what the writers write in one prompt."""
        return 4.0 * n_writers * length * self._model.shape.d_model

    def _circuit_row(self, n_writers: int, length: int) -> float:
        """Bytes of one prompt in one circuit: what writers write, what the readers of a block read, and the pass."""
        shape = self._model.shape
        read = 4.0 * (shape.n_heads + 2 * shape.n_kv_heads + 4) * length * shape.d_model
        batch = self._footprint.batch_row(length, length, vocabulary=True)
        return 2 * self._written_row(n_writers, length) + read + batch

    def max_slots(
        self, bucket: Bucket, edit_sets: Sequence[EditSet], capture: Sequence[Site], *, vocabulary: bool
    ) -> Callable[[int], int]:
        """Return a function: how many edit sets fit in a batch that runs the positions from `start` on."""
        free = self._for_batches - len(bucket) * self._held_row(edit_sets, bucket.length, capture)

        def slots(start: int) -> int:
            row = self._footprint.batch_row(bucket.length - start, bucket.length, vocabulary=vocabulary)
            return max(1, int(free / (row * len(bucket))))

        return slots

    def _split(self, rows: Sequence[int], size: int) -> Iterator[Bucket]:
        for start in range(0, len(rows), size):
            yield Bucket(self._prompts, rows[start : start + size], self._model.device)

    def _held_row(self, edit_sets: Sequence[EditSet], length: int, capture: Sequence[Site]) -> float:
        """Bytes that stay in memory per prompt through all batches: an upper bound of what edits and parts read."""
        sites = [site for sites in sites_read(edit_sets).values() for site in sites]
        for layer in {edit.site.layer for edit_set in edit_sets for edit in edit_set}:
            sites += [Site("resid_pre", layer), Site("z", layer), Site("mlp_out", layer)]
        shape = self._model.shape
        captured = sum(site.width(shape, self._prompts.longest) for site in capture) * len(edit_sets) * length * 4
        return self._footprint.recorded_row(sites, shape.n_layers, length) + captured

    def _raise_too_small(self, what: str, needed: float) -> None:
        raise LabError(
            f"engine.memory_gb: got {self._memory_gb}, but {what} {in_gb(needed)} ({self._model.shape.name}); raise "
            "the bound"
        )
