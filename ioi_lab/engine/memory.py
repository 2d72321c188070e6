"""How much memory a pass needs: what the bound `engine.memory_gb` is compared with."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import torch

from ioi_lab.engine.edits import Site
from ioi_lab.models.loading import LabModel
from ioi_lab.models.shape import ModelShape

MemoryGb = Literal["auto"] | float
"""Gigabytes (10⁹ bytes) that the engine may use beyond the model's weights, or `auto`."""

GB: Final = 1e9
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_SHARE_OF_CARD: Final = 0.8
_SHARE_OF_RAM: Final = 0.25
_MARGIN: Final = 1.5
"""Allocators round up and keep freed blocks; measured peaks stay below the estimate times this."""


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks instead of handing them back to the system at once.

    A pass frees and allocates the same megabytes in every block; fresh pages cost a tenth of its time on a CPU. Other C
    libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        libc.mallopt(parameter, 2**30)


def bound_in_bytes(memory_gb: MemoryGb, device: torch.device) -> float:
    """Return the bound in bytes; `auto` is 80 % of a card's free memory, or a quarter of the machine's."""
    if memory_gb != "auto":
        return memory_gb * GB
    if device.type == "cuda":
        return _SHARE_OF_CARD * torch.cuda.mem_get_info(device)[0]
    import psutil

    return float(_SHARE_OF_RAM * psutil.virtual_memory().available)


def in_gb(needed: float) -> str:
    """Return bytes as gigabytes for a message, rounded up, so that the named amount is enough."""
    return f"{1.01 * needed / GB:.3g}"


@dataclass(frozen=True)
class Footprint:
    """The bytes that passes over a model need, estimated from its sizes."""

    shape: ModelShape
    d_mlp: int
    d_vocab: int
    bytes_per_number: int

    @classmethod
    def of(cls, model: LabModel) -> Footprint:
        """Return the footprint of a loaded model."""
        sizes = model.bridge.cfg
        number = next(model.bridge.parameters()).element_size()
        return cls(model.shape, sizes.d_mlp or 4 * model.shape.d_model, sizes.d_vocab, number)

    def batch_row(self, n_positions: int, length: int, *, vocabulary: bool) -> float:
        """Return the bytes of one prompt in one slot of a batch, of whose `length` `n_positions` are computed.

        This is the largest need of three: attention, the MLP and the unembedding (of the whole vocabulary in float32).
        """
        shape = self.shape
        stream = 4 * shape.d_model * n_positions
        query_width, key_width = shape.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head
        keys_values = 2 * length * (key_width + (query_width if key_width < query_width else 0))
        attention = 4 * n_positions * query_width + keys_values + 4 * shape.n_heads * n_positions * length
        mlp = 5 * self.d_mlp * n_positions
        in_blocks = (stream + max(attention, mlp)) * self.bytes_per_number
        unembedding = 4 * self.d_vocab * 4 if vocabulary else 0
        return _MARGIN * max(in_blocks, unembedding)

    def backward_row(self, length: int) -> float:
        """Return the bytes of one prompt in a pass with gradients, which keeps the activations of every layer."""
        shape = self.shape
        a_layer = length * (16 * shape.d_model + 6 * self.d_mlp + 4 * shape.n_heads * length)
        return _MARGIN * (shape.n_layers * a_layer * self.bytes_per_number + 4 * self.d_vocab * 4)

    def recorded_row(self, sites: Iterable[Site], n_cached_layers: int, length: int) -> float:
        """Return the bytes of one prompt's recorded activations, keys and values."""
        shape = self.shape
        numbers = sum(site.width(shape, length) for site in sites)
        numbers += 2 * n_cached_layers * shape.n_kv_heads * shape.d_head
        return float(numbers * length * self.bytes_per_number)
