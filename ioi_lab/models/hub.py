"""Model folders: local ones, and snapshots of Hugging Face hub repositories."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError, folded
from ioi_lab.storage.files import sha256_of_content

WITHOUT_HUB: Final = "model=folder model.path=DIR, model=smollm2-135m or model=tiny-gpt2"
"""Ways to get a model without the hub, for error messages."""

WEIGHT_FILES: Final = ("*.safetensors", "pytorch_model*.bin")

"""Patterns of weight files, the preferred format first."""

_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json")

TEXT_FILES: Final = ("*.json", "*.txt", "*.model", "*.jinja")
"""Patterns of the files of a model's config and tokenizer."""

_NOT_READ: Final = ("*/*", "consolidated*")
"""Copies of the weights in other formats."""

_ANSWER_SECONDS: Final = 10.0
"""How long to wait for the hub's first answer: `snapshot_download` alone waits forever for a host that is silent."""

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


def check_model_folder(folder: Path) -> None:
    """Raise a `LabError` unless `folder` has the files of a Hugging Face model: config, weights and tokenizer."""
    if not folder.is_dir():
        raise LabError(
            f"model.path: {str(folder)!r} is not a folder; expected one with config.json, weights and tokenizer"
        )
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        missing.append(_TOKENIZERS[0])
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        missing.append("*.safetensors")
    if missing:
        raise LabError(f"model.path: {str(folder)!r} is not a Hugging Face model folder: it lacks {', '.join(missing)}")


def hub_folder(repository: str, revision: str | None) -> Path:
    """Return the cached snapshot of a hub repository, downloaded if necessary; weights as safetensors if it has any.

    A cached commit is used without asking the hub; for a branch or tag, the hub is asked for the newest commit, and the
    cached one is used if the hub does not answer. Files in the cache that are damaged are downloaded again.

    Raises a `LabError` if it can neither be downloaded nor is cached.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not each retry: the result is reported below
    state = "it is not cached"
    try:
        folder = _snapshot(repository, revision)
        if damaged := damaged_files(folder):
            state = f"in the cache, {', '.join(damaged)} is damaged"
            log.warning("model.path: %r: %s; downloading it again", repository, state)
            _download(repository, folder.name, damaged, force=True)
    except Exception as error:  # the library lets errors of its HTTP client, of parsers and of the disk through
        raise LabError(_refusal(error, repository, revision, state)) from error
    if damaged and (damaged := damaged_files(folder)):
        raise LabError(f"model.path: {repository!r}: {', '.join(damaged)} was damaged on the way; run it again")
    check_model_folder(folder)
    return folder


def _snapshot(repository: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi

    cached = _cached(repository, revision)
    if cached is not None and cached.name == revision:
        return cached
    try:
        newest = HfApi().model_info(repository, revision=revision, timeout=_ANSWER_SECONDS).sha
    except Exception:
        if cached is None:
            raise
        return cached
    if cached is not None and cached.name == newest:
        return cached
    folder = _download(repository, revision, [*TEXT_FILES, WEIGHT_FILES[0]])
    if not any(folder.glob(WEIGHT_FILES[0])):
        _download(repository, revision, [*TEXT_FILES, WEIGHT_FILES[1]])
    return folder


def _cached(repository: str, revision: str | None) -> Path | None:
    """Return the snapshot in the cache, or None if it lacks files."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    for weights in WEIGHT_FILES:
        try:
            folder = _download(repository, revision, [*TEXT_FILES, weights], local_only=True)
            check_model_folder(folder)
        except (LocalEntryNotFoundError, LabError):
            continue
        if any(folder.glob(weights)):
            return folder
    return None


def _download(
    repository: str, revision: str | None, names: list[str], *, local_only: bool = False, force: bool = False
) -> Path:
    from huggingface_hub import snapshot_download

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Not enough free disk space")  # a full disk is reported when it is full
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=names,
            ignore_patterns=list(_NOT_READ),
            local_files_only=local_only,
            force_download=force,
        )
    return Path(folder)


def damaged_files(folder: Path) -> list[str]:
    """Return the names of files in a snapshot of the hub's cache whose contents have changed since they were stored.

    The files are links to others, which the hub's cache names by their SHA-256, or by git's SHA-1 if they are small.
    Files that the lab does not read, or that are not links, are not checked.
    """
    weights = next((pattern for pattern in WEIGHT_FILES if any(folder.glob(pattern))), WEIGHT_FILES[0])
    read = (path for pattern in (*TEXT_FILES, weights) for path in folder.glob(pattern))
    links = sorted(path for path in read if path.is_symlink())
    return [path.name for path in links if not path.is_file() or not _has_checksum(path, path.readlink().name)]


def _has_checksum(path: Path, checksum: str) -> bool:
    if len(checksum) == len(hashlib.sha256().hexdigest()):
        return sha256_of_content(path.resolve()) == checksum
    if len(checksum) == len(hashlib.sha1(usedforsecurity=False).hexdigest()):
        git = f"blob {path.stat().st_size}\0".encode()
        return checksum in (_sha1(path, git), _sha1(path, b""))  # mirrors give the SHA-1 of the content alone
    return True


def _sha1(path: Path, header: bytes) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.sha1, header, usedforsecurity=False)).hexdigest()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what has led to it, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _refusal(error: Exception, repository: str, revision: str | None, state: str) -> str:
    """Return in one line why a repository cannot be had, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import RevisionNotFoundError

    default_hub = os.environ.get("HF_ENDPOINT") is None
    hub = "the Hugging Face hub" if default_hub else f"the hub at {constants.ENDPOINT} (HF_ENDPOINT)"
    page = f"{constants.ENDPOINT}/{repository}"
    if any(isinstance(cause, RevisionNotFoundError) for cause in _causes(error)):
        return f"model.revision: got {revision!r}, expected null, or a branch, tag or commit that {page} has"
    reason, way_out = _reason_and_way_out(list(_causes(error)), page)
    return (
        f"model.path: cannot get {repository!r} (revision {revision or 'main'}) from {hub}, and {state} "
        f"({reason}); {way_out}, or use {WITHOUT_HUB}"
    )


def _reason_and_way_out(causes: list[BaseException], page: str) -> tuple[str, str]:
    from huggingface_hub import constants, errors, get_token

    token = get_token()
    for cause in causes:
        match cause:
            case errors.OfflineModeIsEnabled():
                return "HF_HUB_OFFLINE is set", "unset it once to download the model"
            case errors.GatedRepoError() if token is None:
                return "its authors restrict access", f"ask for access at {page} and set HF_TOKEN to your token"
            case errors.GatedRepoError():
                return "the account of your token has no access", f"ask for access at {page}, or change HF_TOKEN"
            case errors.RepositoryNotFoundError():
                return "no such repository, or it is private", f"look at {page}; if it is private, set HF_TOKEN"
            case errors.HfHubHTTPError(response=response) if response.status_code in (401, 403):
                refusal = "a token is needed" if token is None else "your token is refused"
                return f"{refusal}: {response.status_code}", "set HF_TOKEN to a token that can read it"
            case errors.HfHubHTTPError(response=response):
                return f"it answered {response.status_code} {response.reason_phrase}", "run it again later"
            case UnicodeEncodeError():
                return "HF_TOKEN has characters that are not ASCII", "set HF_TOKEN to a token of the hub, or unset it"
            case errors.HFValidationError():
                return "this is not the name of a repository", "write it as owner/name"
            case OSError() if cause.errno in _DISK_FULL:
                full = f"no space left for {constants.HF_HUB_CACHE}"
                return full, "make room, or set HF_HOME to a folder on another disk"
            case OSError(filename=str()):
                unusable = f"cannot use {cause.filename}: {cause.strerror}"
                return unusable, "set HF_HOME to a folder that you can write to"
            case _:
                pass
    reason = f"{type(causes[-1]).__name__}: {folded(causes[-1])}"[:160]
    return reason, "run it again when the hub can be reached"
