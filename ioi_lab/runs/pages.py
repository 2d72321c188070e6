"""The report of a finished run, read back from its folder; runs of earlier versions have less."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError
from ioi_lab.programs import PROGRAM
from ioi_lab.reports.definitions import Method
from ioi_lab.reports.html.page import Page, PageFigure, PageTable
from ioi_lab.reports.html.render import render
from ioi_lab.reports.wording import sentence
from ioi_lab.runs.parsing import DamagedError, content_of, read_json
from ioi_lab.runs.reading import CONFIG, PAGE, PLOTS, SUMMARY, read_run, read_status, read_typed, report_files
from ioi_lab.storage.files import json_text, write_text
from ioi_lab.storage.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

    from ioi_lab.reports.report import Report

TEXTS: Final = "report.json"
"""The texts of a run's report."""

_COMMAND: Final = re.compile(r"To run it again: (.*) --config-dir")
_PROMPTS: Final = "prompts.csv"


def write_page(folder: Path) -> Path:
    """Return the `report.html` of the finished run in a folder, which is written if the run has none.

    Runs of earlier versions, and those without figures, have none. Raises a `LabError` if the run is not done.
    """
    record, path = read_run(folder), folder / PAGE
    if not record.is_done:
        raise LabError(f"the run in {str(folder)!r} is not done but {record.state}; expected a finished run")
    if not path.is_file():
        write_text(path, render(page_of(folder), parts_of(folder)))
    return path


def texts_of(report: Report) -> bytes:
    """Return the content of `report.json`: the question, its answer, captions, methods and limits."""
    return json_text(
        {
            "question": report.question,
            "answer": list(report.answer),
            "captions": dict(report.captions),
            "methods": [vars(method) for method in report.methods],
            "limits": list(report.limits),
            "parts": list(report.parts),
        }
    ).encode()


def captions_in(folder: Path) -> dict[str, str]:
    """Return the captions of the figures in the folder of a run or of a sweep, by name; none if it has no texts."""
    captions = _json(folder / TEXTS).get("captions")
    return {str(name): str(text) for name, text in captions.items()} if isinstance(captions, Mapping) else {}


def page_of(folder: Path) -> Page:
    """Return the report of the run in a folder; what the run does not have, or cannot be read, is empty."""
    status = read_status(folder)
    names = list(report_files(status))
    finished = {"finished": status["updated"]} if "updated" in status else {}
    texts = _json(folder / TEXTS)
    captions = captions_in(folder)
    summary = _text(folder / SUMMARY).splitlines()
    figures = [Path(name) for name in names if name.startswith(f"{PLOTS}/") and name.endswith(".png")]
    tables = {name: _table(folder / name) for name in names if name.endswith(".csv")}
    return Page(
        title=summary[0] if summary else folder.name,
        question=str(texts.get("question", "")),
        answer=[*_failure(status), *_texts(texts.get("answer"))],
        details=summary[1:],
        figures=[
            PageFigure(name.stem, folder / name, captions.get(name.stem, ""))
            for name in figures
            if _is_image(folder / name)
        ],
        tables=[
            PageTable(Path(name).stem, table, file=name)
            for name, table in tables.items()
            if table is not None and name != _PROMPTS
        ],
        prompts=tables.get(_PROMPTS),
        methods=_methods(texts.get("methods")),
        limits=_texts(texts.get("limits")),
        command=_command(folder),
        config=_config(folder),
        provenance={**finished, **_json(folder / "provenance.json")},
    )


def _failure(status: Mapping[str, Any]) -> list[str]:
    """Return the sentence on a run that has failed, if it has."""
    return [f"This run failed: {sentence(str(status['error']))}"] if status.get("error") else []


def program_of(folder: Path) -> list[str]:
    """Return the words that started the run in a folder, without its overrides: `ioi-lab`, `sweep`."""
    match = _COMMAND.search(_text(folder / CONFIG))
    return (match[1] if match else f"{PROGRAM} sweep").split()


def parts_of(folder: Path) -> list[Page]:
    """Return the reports of the runs within a run that are parts of its report: the steps of a study."""
    names = _texts(_json(folder / TEXTS).get("parts"))
    inside = [name for name in names if name.isprintable() and Path(name).name == name and name not in ("", "..")]
    pages = {name: page_of(folder / name) for name in inside if not (folder / name).is_symlink()}
    return [replace(page, title=f"{name.partition('-')[2] or name}: {page.title}") for name, page in pages.items()]


def _command(folder: Path) -> str:
    """Return what was typed; for a run that was not typed, the command that runs its config again."""
    try:
        typed = read_typed(folder)
    except (DamagedError, OSError):
        typed = []
    return shlex.join(
        [*program_of(folder), *(typed or ["--config-dir", os.path.relpath(folder), "--config-name", "config"])]
    )


def _config(folder: Path) -> str:
    lines = _text(folder / CONFIG).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def _text(path: Path) -> str:
    try:
        return content_of(path).decode(errors="replace")
    except DamagedError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except DamagedError:
        return {}


def _is_image(path: Path) -> bool:
    from PIL import Image

    if not path.is_file() or path.is_symlink():
        return False
    try:
        with Image.open(path):
            return True
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def _table(path: Path) -> pd.DataFrame | None:
    try:
        return None if path.is_symlink() else read_table(path)
    except (OSError, ValueError):
        return None


def _texts(values: object) -> Sequence[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _methods(values: object) -> Sequence[Method]:
    entries = [entry for entry in values if isinstance(entry, dict)] if isinstance(values, list) else []
    return [Method(*(str(entry.get(key, "")) for key in ("term", "definition", "source"))) for entry in entries]
