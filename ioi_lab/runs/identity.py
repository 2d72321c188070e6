"""The identity of a run: checksums of everything that its results depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ioi_lab.config import may_name_file
from ioi_lab.errors import LabError
from ioi_lab.runs.code import library_versions, sha256_of_code
from ioi_lab.runs.reading import RunRecord
from ioi_lab.storage.files import sha256_of_content

FILE_KEYS: Final = frozenset({"path", "from_run", "text", "translators", "vector", "maps", "circuit"})
"""Config keys that name a file or a folder that results depend on."""

PATH_KEYS: Final = FILE_KEYS | {"resume_from"}
"""Config keys that name a file or a folder."""

_IRRELEVANT_KEYS: Final = ("name", "tracker", "resume", "optimize", "resume_from")
"""Top-level config keys that change no result."""


def identity_of(config: Mapping[str, Any], modules: frozenset[str], weights: str, model_files: str) -> dict[str, str]:
    """Return checksums of everything that the results of a job depend on.

    Args:
        config: The resolved config of the job.
        modules: The modules of the job, of its parts and of what its config names: see `sha256_of_code`.
        weights: The checksum of the weights of all models of the job.
        model_files: That of the files of their configs and tokenizers.

    Returns:
        `config` (without the keys that change no result), `code`, `packages` (the versions of the libraries that
        compute activations), `files` (the contents of the files that the config names), `weights` and `model_files`.

    """
    relevant = {key: value for key, value in config.items() if key not in _IRRELEVANT_KEYS}
    return {
        "config": _sha256(json.dumps(relevant, sort_keys=True, default=str)),
        "code": sha256_of_code(modules),
        "packages": library_versions(),
        "files": sha256_of_named_files(config),
        "weights": weights,
        "model_files": model_files,
    }


def why_again(earlier: RunRecord, identity: Mapping[str, str]) -> str | None:
    """Return why a run that was done is not the result of the job with this identity; None if it is."""
    if not earlier.is_done:
        return f"its files are damaged ({earlier.reason})"
    different = [part for part, checksum in identity.items() if earlier.identity.get(part) != checksum]
    return f"it was done with other {_in_words(different)}" if different else None


def is_of_other_code(earlier: RunRecord) -> bool:
    """Return whether a run was done with other code, or other versions of the libraries, than are here now."""
    now = {"code": sha256_of_code(earlier.modules), "packages": library_versions()}
    return any(earlier.identity.get(part) != checksum for part, checksum in now.items())


def check_unchanged(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise a `LabError` if anything that results depend on was changed while they were measured."""
    changed = [part for part, checksum in before.items() if after[part] != checksum]
    if changed:
        raise LabError(f"the {_in_words(changed)} of this run were changed while it was measured; run it again")


def sha256_of_named_files(config: Mapping[str, Any]) -> str:
    """Return one checksum of the contents of the files and folders that a config names, except those of models."""
    return _sha256(" ".join(sha256_of_content(path) for path in _named_files(config)))


def _named_files(config: Mapping[str, Any]) -> list[Path]:
    if "source" in config and "dtype" in config:  # a model, whose weights have a checksum of their own
        return []
    named = [key for key, value in config.items() if key in FILE_KEYS and isinstance(value, str)]
    own = [Path(config[key]) for key in named if may_name_file(config, key)]
    within = [path for value in config.values() if isinstance(value, dict) for path in _named_files(value)]
    return [path for path in own if path.is_file() or path.is_dir()] + within  # a device or a pipe may have no end


def _in_words(parts: list[str]) -> str:
    return " and ".join(part.replace("_", " ") for part in parts)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
