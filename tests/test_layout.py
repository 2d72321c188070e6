"""The house rules that no linter checks: the length of files, and tests that mirror the package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ioi_lab"
MAX_LINES = 300
LONG_FILES: dict[str, str] = {
    "tiny/train.py": "one script from corpus to scored model, read from top to bottom",
}
"""Files that may be longer, each with its reason."""


def test_files_have_one_subject_of_about_300_lines():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    long = {name for name, length in lengths.items() if length > MAX_LINES}
    assert long <= LONG_FILES.keys(), {name: lengths[name] for name in long - LONG_FILES.keys()}
    assert len(LONG_FILES) <= 3
