"""Atomic writes, YAML and JSON text, and checksums of files."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import stat
import sys
import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from ioi_lab.errors import LabError, reason_of

_RESULTS: Final = ("*.csv", "*.safetensors", "metrics.json", "config.yaml")
"""The files of a run folder that other runs read; logs and times do not belong to its checksum."""

_NOT_FILES: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_user_file(path: Path, key: str, *, max_mb: float | None = None) -> Path:
    """Return `path`, with `~` expanded, if it is a regular file, also through links, of at most `max_mb` megabytes.

    Raises a `LabError` that names the config key `key`. Nothing is opened: reading a device or a pipe may never end.
    """
    file = Path(os.path.expanduser(path))
    try:
        status = file.stat()
    except FileNotFoundError as error:
        raise LabError(f"{key}: {str(path)!r} is not a file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise LabError(f"{key}: cannot read {str(path)!r}: {reason_of(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        what = next((f" but {name}" for test, name in _NOT_FILES if test(status.st_mode)), "")
        raise LabError(f"{key}: {str(path)!r} is not a file{what}")
    if max_mb is not None and status.st_size > max_mb * 1e6:
        raise LabError(f"{key}: {str(path)!r} has {status.st_size / 1e6:.4g} MB; expected {max_mb:g} MB or less")
    return file


def read_user_file(path: Path, key: str, *, max_mb: float) -> bytes:
    """Return the content of a file that the user names; a file that grows while it is read is refused too.

    Raises a `LabError` like `check_user_file`.
    """
    try:
        with check_user_file(path, key, max_mb=max_mb).open("rb") as file:
            content = file.read(int(max_mb * 1e6) + 1)
    except OSError as error:
        raise LabError(f"{key}: cannot read {str(path)!r}: {reason_of(error)}") from error
    if len(content) > max_mb * 1e6:
        raise LabError(f"{key}: {str(path)!r} grows while it is read; expected {max_mb:g} MB or less")
    return content


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a temporary file next to `path`, then rename it, so that readers never see a part of the content.

    Missing folders are created. Raises an `OSError` that names `path`. Without `sync`, the content may be lost if the
    machine loses its power: until `sync_file_system` is called.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with _new_file(temporary) as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # such as that of a folder that is none
            temporary.unlink()
        if isinstance(error, OSError):  # the error of a full disk does not name the file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _new_file(path: Path) -> BinaryIO:
    """Open a new file; its folder is created only if it is missing, since trying takes longer than opening the file."""
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write UTF-8 text atomically; `sync`: see `write_bytes`."""
    write_bytes(path, text.encode(), sync=sync)


def write_json(path: Path, content: Mapping[str, Any], *, sync: bool = True) -> None:
    """Write readable JSON atomically; `sync`: see `write_bytes`."""
    write_text(path, json_text(content), sync=sync)


def sync_file_system(folder: Path) -> None:
    """Wait until everything that was written to the file system of a folder is on its device."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "syncfs"):
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if library.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def json_text(content: Mapping[str, Any]) -> str:
    """Return indented JSON; raises a `ValueError` for NaN and infinity, which JSON does not have."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def yaml_text(content: Any) -> str:
    """Return plain values as YAML that OmegaConf reads back, several times faster than OmegaConf writes it.

    OmegaConf reads more strings as numbers than YAML does (`1e3`); these are quoted.
    """
    import yaml

    return str(yaml.dump(content, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, sort_keys=False))


@lru_cache(maxsize=1)
def _dumper() -> Any:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        pass

    Dumper.add_representer(str, _quoted)
    return Dumper


def _quoted(dumper: Any, text: str) -> Any:
    try:
        float(text)
    except ValueError:
        return dumper.represent_str(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")


def parse_yaml(text: bytes) -> Any:
    """Return the plain values in YAML; raises a `ValueError` if it is damaged."""
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


@lru_cache(maxsize=1024)
def _sha256_of_version(path: Path, _size: int, _modified: int) -> str:
    return sha256_of_files([path])


def sha256_of_content(path: Path) -> str:
    """Return a SHA-256 of a file, or of the tables, metrics, tensors and config in a run folder."""
    if path.is_dir():
        files = sorted(file for pattern in _RESULTS for file in path.glob(pattern))
        contents = [(file.name, sha256_of_content(file)) for file in files]
        return hashlib.sha256(repr(contents).encode()).hexdigest()
    stat = path.stat()
    return _sha256_of_version(path, stat.st_size, stat.st_mtime_ns)


def sha256_of_files(files: Iterable[Path]) -> str:
    """Return one SHA-256 of the contents of `files`, in their order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
