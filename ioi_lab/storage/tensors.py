"""Files of named tensors with their provenance (safetensors), which one run writes and another reads."""

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
    """Return the content of a safetensors file with the tensors.

    Args:
        tensors: The tensors by name.
        origin: The model that they belong to.
        kind: What they are, such as `steering vectors`; readers check it.
        provenance: Further metadata.

    """
    from safetensors.torch import save

    metadata = {"kind": kind, "model": origin.name, "weights_sha256": origin.weights_sha256}
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata | provenance)


def read_tensor_file(
    path: Path, origin: ModelOrigin, kind: str, key: str, device: torch.device | str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the provenance and the tensors of a file that `tensor_file` has made, on a device.

    Raises a `LabError` that names `key` for a file that cannot be read, is of another kind, or belongs to another
    model than `origin`.
    """
    provenance, tensors = read_any_tensor_file(path, kind, key, device)
    if provenance.get("weights_sha256") != origin.weights_sha256:
        other = provenance.get("model", "not a model of this lab")
        raise LabError(f"{key}: {str(path)!r} belongs to another model ({other}); expected {origin.name}")
    return provenance, tensors


def read_any_tensor_file(
    path: Path, kind: str, key: str, device: torch.device | str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the provenance and the tensors of a file of any model; otherwise like `read_tensor_file`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt", device=str(device)) as file:
            provenance = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is not a mapping)
    except (OSError, SafetensorError) as error:
        raise LabError(f"{key}: cannot read {str(path)!r} as safetensors: {folded(error)}") from error
    if provenance.get("kind") != kind:
        other = provenance.get("kind")
        content = f"contains {other}" if other else "was not written by a run of this lab"
        raise LabError(f"{key}: {str(path)!r} {content}; expected {kind}")
    return provenance, tensors
