"""The names of the package: imported when they are first used, and known to type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ioi_lab as lab

LATE = ("torch", "transformers", "transformer_lens", "matplotlib", "pandas", "hydra", "wandb", "scipy")


def test_the_import_loads_nothing_that_takes_time():
    code = f"import ioi_lab, sys; print([name for name in {LATE} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_name_is_there():
    assert {"run", "sweep", "align", "load", "load_runs", "load_model", "Engine", "Site", "Edit"} <= set(lab.__all__)
    assert set(lab.__all__) <= set(dir(lab))
    for name in lab.__all__:
        assert getattr(lab, name) is not None
    with pytest.raises(AttributeError, match="module 'ioi_lab' has no attribute 'rum'"):
        lab.rum  # noqa: B018


def test_type_checkers_see_the_same_names():
    """They read the imports that are never executed."""
    (block,) = (node for node in ast.parse(Path(lab.__file__).read_text()).body if isinstance(node, ast.If))
    seen = {(imported.module, alias.name) for imported in block.body for alias in imported.names}
    assert seen == {(f"ioi_lab.{module}", name) for module, names in lab._MODULES.items() for name in names}
