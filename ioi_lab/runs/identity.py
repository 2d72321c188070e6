"""The identity of a run: checksums of everything that its results depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ioi_lab.config import may_name_file
from ioi_lab.errors import LabError
from ioi_lab.runs.folder import done_identity
from ioi_lab.storage.files import sha256_of_content, sha256_of_files

FILE_KEYS: Final = frozenset({"path", "from_run", "text", "translators", "vector", "maps"})
"""Config keys that name a file or a folder that results depend on."""

PATH_KEYS: Final = FILE_KEYS | {"resume_from"}
"""Config keys that name a file or a folder."""

_IRRELEVANT_KEYS: Final = ("name", "tracker", "resume", "optimize", "resume_from")
"""Top-level config keys that change no result."""


def identity_of(config: Mapping[str, Any], weights: str) -> dict[str, str]:
    """Return checksums of everything that the results of a job depend on.

    Args:
        config: The resolved config of the job.
        weights: The checksum of the weights of all models of the job.

    Returns:
        `config` (without the keys that change no result), `code`, `files` (the contents of the files that the config
        names) and `weights`.

    """
    relevant = {key: value for key, value in config.items() if key not in _IRRELEVANT_KEYS}
    return {
        "config": _sha256(json.dumps(relevant, sort_keys=True, default=str)),
        "code": sha256_of_code(),
        "files": sha256_of_named_files(config),
        "weights": weights,
    }


def why_again(folder: Path, identity: Mapping[str, str]) -> str | None:
    """Return why the finished run in `folder` is not the result of the job with this identity; None if it is."""
    earlier = done_identity(folder)
    if earlier is None:
        return "its files are damaged"
    different = [part for part, checksum in identity.items() if earlier.get(part) != checksum]
    return f"it was done with other {' and '.join(different)}" if different else None


def check_unchanged(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise a `LabError` if anything that results depend on was changed while they were measured."""
    changed = [part for part, checksum in before.items() if after[part] != checksum]
    if changed:
        raise LabError(f"the {' and '.join(changed)} of this run were changed while it was measured; run it again")


@lru_cache(maxsize=1)
def sha256_of_code() -> str:
    """Return one checksum of the package's code and texts, as they were at the first call in this process."""
    package = Path(__file__).parent.parent
    return sha256_of_files(sorted([*package.glob("**/*.py"), *package.glob("tasks/texts/*.txt")]))


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


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
