"""The torch device that a model is put on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ioi_lab.errors import LabError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """Return the torch device with this name; `auto` prefers cuda, then mps, then cpu.

    Raises a `LabError` for a device that this machine does not have.
    """
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        hint = "; no CUDA device was found here" if name.startswith("cuda") and "cuda" not in available else ""
        raise LabError(f"model.device: got {name!r}, expected one of auto, {', '.join(available)}{hint}")
    return torch.device(name)
