"""A folder of its own for the runs of a test, and runs that all tests share."""

from __future__ import annotations

import os

import pytest

import ioi_lab as lab

QUICK = {"tracker": "none", "task": {"n": 8}}
"""Keywords of a run that takes a second."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> lab.Run:
    """A run of patching."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("demo"))
    try:
        run = lab.run("model=tiny-gpt2", name="demo", intervention="patch", **QUICK)
        return lab.Run(run.folder.absolute())
    finally:
        os.chdir(before)
