"""GGUF files, which are dequantised once into a Hugging Face folder; the type of their weights is kept."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from ioi_lab.errors import LabError, folded
from ioi_lab.models.gguf_files import GgufFile
from ioi_lab.storage.files import write_json

log = logging.getLogger(__name__)

_SOURCE: Final = "source.json"
"""The file in a converted folder that describes the GGUF file."""

_NOT_QUANTIZED: Final = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8")
"""Types of tensors whose values are plain numbers."""


def cache_folder() -> Path:
    """Return the folder of converted models: `$IOI_LAB_CACHE`, else `~/.cache/ioi_lab`."""
    return Path(os.environ.get("IOI_LAB_CACHE") or Path.home() / ".cache" / "ioi_lab")


def converted_gguf(file: GgufFile) -> Path:
    """Return the cached Hugging Face folder of a GGUF file, dequantised once per content of the file.

    The folder gets its name only when it is complete; `source.json` in it has the file's SHA-256, the type of its
    weights and their licence. Raises a `LabError` for a file that cannot be converted, and for parts that do not make
    up the whole.
    """
    folder = cache_folder() / f"{Path(file.name).stem}-{file.sha256[:16]}"
    if _is_described(folder):
        return folder
    file.check()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if _is_described(folder):  # converted by another process meanwhile
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as temporary:
            whole, new = file.whole_in(Path(temporary)), Path(temporary) / "model"
            if folder.is_dir():  # converted by an earlier version, which did not keep the type
                _describe(folder, whole, file.sha256)
                return folder
            log.info("converting %s into %s: once, for half a minute", file.name, folder)
            _convert_gguf(whole, new)
            _describe(new, whole, file.sha256)
            new.rename(folder)
    return folder


def quantization_of(folder: Path) -> str | None:
    """Return the type of the quantised weights that a folder was converted from, such as `Q4_1`; None for others."""
    quantization = _source_of(folder).get("quantization")
    return None if quantization is None else str(quantization)


def license_of(folder: Path) -> str | None:
    """Return the licence that a converted GGUF file names, such as `apache-2.0` or `gemma`; None if it names none."""
    name = _source_of(folder).get("license")
    return None if name is None else str(name)


def quantization_of_file(file: Path) -> str | None:
    """Return the type of a GGUF file's quantised weights, such as `Q4_1` or `Q4_K_M`; None if none are quantised.

    It is the `general.file_type` of the file's metadata if some tensors are of this type, else the type of most
    quantised numbers.
    """
    from gguf import GGUFReader, LlamaFileType

    reader = GGUFReader(file)
    sizes: Counter[str] = Counter()
    for tensor in reader.tensors:
        if tensor.tensor_type.name not in _NOT_QUANTIZED:
            sizes[tensor.tensor_type.name] += int(tensor.n_elements)
    if not sizes:
        return None
    declared = reader.get_field("general.file_type")
    known = {each.value: each.name.removeprefix("MOSTLY_") for each in LlamaFileType}
    name = known.get(declared.contents(), "") if declared else ""
    return name if name.startswith(tuple(sizes)) else sizes.most_common(1)[0][0]


def license_of_file(file: Path) -> str | None:
    """Return the licence in a GGUF file's metadata, `general.license`; None if there is none."""
    from gguf import GGUFReader

    named = GGUFReader(file).get_field("general.license")
    return str(named.contents()) if named else None


def _is_described(folder: Path) -> bool:
    return "quantization" in _source_of(folder)


def _source_of(folder: Path) -> dict[str, Any]:
    """Return what `source.json` says, if the folder was converted: other folders may have a file of this name."""
    try:
        source = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return source if isinstance(source, dict) else {}


def _describe(folder: Path, file: Path, checksum: str) -> None:
    source = {
        "file": file.name,
        "sha256": checksum,
        "quantization": quantization_of_file(file),
        "license": license_of_file(file),
    }
    write_json(folder / _SOURCE, source)


def _convert_gguf(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
    except Exception as error:  # the readers of the format raise errors of many types
        reason = folded(error)[:300]
        raise LabError(f"model.path: cannot convert {str(file)!r} from GGUF: {reason}") from error
    # `save_pretrained` refuses a model that is marked as quantised, but these weights no longer are.
    model.is_quantized = False
    for owner, attribute in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(owner, attribute):
            delattr(owner, attribute)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
