"""Which code a config may name: that of this package, and of packages that the user trusts.

A config is data, often someone else's. A name in it is looked up only after this module has accepted it, so that no
file can have a module of its choice imported.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final

VARIABLE: Final = "IOI_LAB_PLUGINS"
"""The environment variable that names packages and modules with parts of one's own, separated by commas."""

ENTRY_POINTS: Final = "ioi_lab.plugins"
"""The entry point group in which an installed package registers its parts."""

_OWN: Final = __name__.partition(".")[0]
_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def why_untrusted(name: str) -> str | None:
    """Return what is expected instead of a dotted name that a config may not use; None if it may.

    Nothing is imported.
    """
    if not _NAME.fullmatch(name) or any(part.startswith("__") for part in name.split(".")):
        return "a dotted name, such as my_package.MyClass"
    packages = (_OWN, *_named_packages(), *_registered_packages())
    if any(name == package or name.startswith(f"{package}.") for package in packages):
        return None
    root = name.partition(".")[0]
    return f"a name in {_OWN}, or in a package that you trust and name first (export {VARIABLE}={root})"


def import_trusted(module: str) -> ModuleType:
    """Import a module that `why_untrusted` accepts.

    Raises an `ImportError` for one that it does not accept, and for one that cannot be imported.
    """
    reason = why_untrusted(module)
    if reason is not None:
        raise ImportError(f"expected {reason}", name=module)
    find_in_current_folder()
    return importlib.import_module(module)


def find_in_current_folder() -> None:
    """Make Python find the packages and modules that `IOI_LAB_PLUGINS` names if they are in the current folder.

    An installed command, unlike a script, does not look there. The folder comes last on Python's path: no file in it
    takes the place of an installed module.
    """
    tops = [name.partition(".")[0] for name in _named_packages()]
    if not any(Path(f"{top}.py").is_file() or Path(top).is_dir() for top in tops):
        return
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def _named_packages() -> list[str]:
    return [name for name in map(str.strip, os.environ.get(VARIABLE, "").split(",")) if name]


@lru_cache(maxsize=1)
def _registered_packages() -> tuple[str, ...]:
    from importlib.metadata import entry_points

    return tuple(point.module for point in entry_points(group=ENTRY_POINTS))
