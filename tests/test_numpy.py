"""The package imports with NumPy 2.5 on Python 3.12, where `NDArray` is an alias object instead of a class's alias."""

from __future__ import annotations

import subprocess
import sys

import pytest

AS_IN_NUMPY_2_5 = """
import importlib, pkgutil, typing
import numpy as np
import numpy.typing
from typing_extensions import TypeAliasType

Item = typing.TypeVar("Item", bound=np.generic)
array = np.ndarray[tuple[typing.Any, ...], np.dtype[Item]]
numpy.typing.NDArray = TypeAliasType("NDArray", array, type_params=(Item,))

import ioi_lab

for module in pkgutil.walk_packages(ioi_lab.__path__, "ioi_lab."):
    if not module.name.endswith("__main__") and ".templates" not in module.name:
        importlib.import_module(module.name)
        print(module.name)
"""


@pytest.mark.long
def test_all_modules_are_imported():
    done = subprocess.run([sys.executable, "-c", AS_IN_NUMPY_2_5], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 300
