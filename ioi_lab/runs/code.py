"""Checksums of the code that a result depends on: the modules that the job's own modules can import."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGE: Final = "ioi_lab"

_DECIDES_NO_RESULT: Final = (
    "ioi_lab.cli",
    "ioi_lab.runs",
    "ioi_lab.reports.plots",
    "ioi_lab.reports.html",
    "ioi_lab.reports.captions",
    "ioi_lab.reports.definitions",
    "ioi_lab.tiny",
)
"""What starts jobs, keeps runs, draws and makes pages, and the packaged models, whose files have checksums."""

_DECIDES_NO_NUMBER: Final = ("figures", "texts")
"""The ends of the names of the package's modules that draw, and that word reports."""

_DECIDES_RESULTS: Final = ("ioi_lab.runs.past_run",)
"""A module in these packages that reads what others measured."""

_LIBRARIES: Final = ("torch", "transformers", "transformer-lens")


@dataclass(frozen=True)
class _Module:
    """A module as it was when it was first looked at in this process."""

    checksum: str
    imports: frozenset[str]


@lru_cache(maxsize=256)
def sha256_of_code(modules: frozenset[str]) -> str:
    """Return one checksum of these modules, of all that they import, and of the data files of their packages.

    Imports inside functions count, those for types alone do not. The modules are found and read, not imported. Modules
    of installed packages do not count unless they are in the package of a module that was asked for. `reports/plots`
    and modules called `figures` or `texts` do not count either: they draw and word, and decide no number or table.
    """
    followed = {PACKAGE, *(name.partition(".")[0] for name in modules)}
    found: dict[str, str] = {}
    waiting = list(_with_parents(modules))
    while waiting:
        name = waiting.pop()
        if name in found or not _decides_results(name):
            continue
        source = _source_of(name)
        if source is None or (name.partition(".")[0] not in followed and _is_installed(source)):
            continue
        module = _read(name, source)
        found[name] = module.checksum
        waiting += module.imports
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def modules_named_in(values: object) -> Iterator[str]:
    """Yield the imported modules that dotted names in a config point into, such as that of a `_target_`."""
    if isinstance(values, dict):
        for value in values.values():
            yield from modules_named_in(value)
    elif isinstance(values, list):
        for value in values:
            yield from modules_named_in(value)
    elif isinstance(values, str) and "." in values:
        name = values.rpartition(".")[0]
        while name and name not in sys.modules:
            name = name.rpartition(".")[0]
        if name:
            yield name


@lru_cache(maxsize=1)
def library_versions() -> str:
    """Return the versions of the libraries that compute a model's activations."""
    return ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _decides_results(module: str) -> bool:
    if module in _DECIDES_RESULTS:
        return True
    is_shown = module.startswith(f"{PACKAGE}.") and module.rpartition(".")[2].endswith(_DECIDES_NO_NUMBER)
    return not is_shown and not any(module == name or module.startswith(f"{name}.") for name in _DECIDES_NO_RESULT)


@lru_cache(maxsize=4096)
def _source_of(module: str) -> Path | None:
    """Return the source file of a module; None if there is none."""
    top, *within = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # finds a module that is in no package without importing it
    except (ImportError, ValueError):  # a script has no spec
        spec = None
    if within:
        places = [Path(folder, *within) for folder in (spec and spec.submodule_search_locations) or []]
        files = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
    else:
        origin = spec.origin if spec else getattr(sys.modules.get(top), "__file__", None)
        files = [Path(origin)] if origin else []
    return next((file for file in files if file.suffix == ".py" and file.is_file()), None)


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_installed(file: Path) -> bool:
    resolved = file.resolve()
    return any(resolved.is_relative_to(folder) for folder in _installed())


@lru_cache(maxsize=4096)
def _read(name: str, file: Path) -> _Module:
    is_package = file.name == "__init__.py"
    source = file.read_bytes()
    package = name if is_package else name.rpartition(".")[0]
    digest = hashlib.sha256(source)
    for data in _data_files(file.parent) if is_package else []:
        digest.update(f"\n{data.name}\n".encode())
        digest.update(data.read_bytes())
    try:
        imports = frozenset(_with_parents(_imports(ast.parse(source), package)))
    except (SyntaxError, ValueError):  # edited since it was imported
        imports = frozenset()
    return _Module(digest.hexdigest(), imports)


def _data_files(package: Path) -> list[Path]:
    """Return the files of a package that are no code, also those in folders of it that are no packages."""
    folders = [package, *(path for path in package.iterdir() if path.is_dir() and not (path / "__init__.py").exists())]
    files = [path for folder in folders if _is_data(folder) for path in folder.iterdir() if _is_data(path)]
    return sorted(path for path in files if path.is_file() and path.suffix not in (".py", ".pyc"))


def _is_data(path: Path) -> bool:
    return not path.name.startswith((".", "__pycache__"))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names that code imports, each of which is a module or something in one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _imports(node, package)


def _with_parents(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
