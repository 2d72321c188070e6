"""Named tensors with their provenance, as safetensors: files that one run writes and another reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_lab.errors import LabError, folded

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class ModelOrigin:
    """The model that tensors belong to."""

    name: str
    weights_sha256: str


def tensor_file(tensors: Mapping[str, Tensor], origin: ModelOrigin, kind: str, **provenance: str) -> bytes:
    """Return the tensors as a safetensors file that says what they are and which model they belong to."""
    from safetensors.torch import save

    metadata = {"kind": kind, "model": origin.name, "weights_sha256": origin.weights_sha256}
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata | provenance)


def read_tensor_file(
    path: Path, origin: ModelOrigin, kind: str, key: str, device: torch.device | str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return provenance and tensors of a file of `tensor_file`, on a device.

    Raises a `LabError` that names `key` for a file that cannot be read, of another kind, or of another model.
    """
    provenance, tensors = read_any_tensor_file(path, kind, key, device)
    if provenance.get("weights_sha256") != origin.weights_sha256:
        other = provenance.get("model", "no model of this lab")
        raise LabError(f"{key}: {str(path)!r} is of another model ({other}); expected one of {origin.name}")
    return provenance, tensors


def read_any_tensor_file(
    path: Path, kind: str, key: str, device: torch.device | str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """`read_tensor_file` for a file of any model."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt", device=str(device)) as file:
            provenance = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is not a mapping)
    except (OSError, SafetensorError) as error:
        raise LabError(f"{key}: cannot read {str(path)!r} as safetensors: {folded(error)}") from error
    if provenance.get("kind") != kind:
        other = provenance.get("kind", "a file that no run of this lab has left")
        raise LabError(f"{key}: {str(path)!r} holds {other}; expected {kind}")
    return provenance, tensors
