"""The house rules that no linter checks: the length of files, and tests that mirror the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ioi_lab"
MAX_LINES = 300
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with its reason."""

TESTED_ELSEWHERE: dict[str, str] = {
    "__main__.py": "tests/cli/test_main.py",
    "cli/sweep.py": "the fixture `sweep`, of tests/jobs/test_experiment.py and others",
    "cli/train_align.py": "the fixture `train_align`, of tests/jobs/test_alignment.py",
    "alignment/texts.py": "tests/jobs/test_alignment.py",
    "interventions/attention/texts.py": "tests/interventions/test_all.py",
    "interventions/base.py": "abstract: tested by every intervention",
    "interventions/circuit/texts.py": "tests/interventions/test_all.py",
    "interventions/circuit_tests/texts.py": "tests/interventions/test_all.py",
    "interventions/cross_task/texts.py": "tests/interventions/test_all.py",
    "interventions/grid_texts.py": "tests/interventions/test_all.py",
    "interventions/head_roles/texts.py": "tests/interventions/test_all.py",
    "interventions/logit_attribution/texts.py": "tests/interventions/test_all.py",
    "interventions/logit_lens/texts.py": "tests/interventions/test_all.py",
    "interventions/steer/texts.py": "tests/interventions/test_all.py",
    "interventions/transfer/texts.py": "tests/interventions/test_all.py",
    "interventions/wang2022/texts.py": "tests/interventions/test_all.py",
    "jobs/texts.py": "tests/interventions/test_all.py",
    "interventions/grid_result.py": "fields without logic",
    "interventions/transfer/vector_result.py": "fields without logic",
    "runs/__main__.py": "tests/runs/test_main.py",
    "tasks/ioi_text.py": "lists of words: tests/tasks/test_ioi.py",
    "tiny/__main__.py": "tests/tiny/test_main.py",
}
"""Modules without a test file of their own, each with its reason."""


def test_files_have_one_subject_of_about_300_lines():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    long = {name for name, length in lengths.items() if length > MAX_LINES}
    assert long <= LONG_FILES.keys(), {name: lengths[name] for name in long - LONG_FILES.keys()}
    assert len(LONG_FILES) <= 3


def test_each_module_has_a_test_file():
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    tests = Path(__file__).parent
    untested = {str(path) for path in modules if not (tests / path.parent / f"test_{path.name}").is_file()}
    assert untested == TESTED_ELSEWHERE.keys()


def undefined_names(folder: Path) -> list[str]:
    """The undefined names, without strings of one word: these are jaxtyping's shapes, which ruff takes for names."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        str(folder),
        "--isolated",
        "--select=F821",
        "--output-format=json",
    ]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    undefined = []
    for error in found:
        row, start, end = error["location"]["row"], error["location"]["column"], error["end_location"]["column"]
        line = Path(error["filename"]).read_text().splitlines()[row - 1]
        if line[start - 2] not in "\"'" or line[start - 2] != line[end - 1]:
            undefined.append(f"{error['filename']}:{row}: {error['message']}")
    return undefined


def test_every_name_is_defined():
    assert undefined_names(PACKAGE) == []
    assert undefined_names(PACKAGE.parent / "benchmarks") == []


def test_an_undefined_name_is_found(tmp_path):
    (tmp_path / "a.py").write_text('def f(x: Float[Array, "row"]) -> str:\n    return f"{np.nan}" + missing\n')
    names = [line.rpartition("`")[0].rpartition("`")[2] for line in undefined_names(tmp_path)]
    assert names == ["Float", "Array", "np", "missing"]
