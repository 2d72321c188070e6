"""Runs of experiments: what several test files need."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def status(folder):
    return json.loads((folder / "status.json").read_text())["status"]


def csv_file(folder, content):
    (folder / "bad.csv").write_text(content)
    return "task=pairs", f"task.path={folder / 'bad.csv'}"
