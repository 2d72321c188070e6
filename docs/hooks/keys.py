"""The pages of config keys: the rows of `ioi-lab info`, made from the files in conf/ and the classes of configs."""

from __future__ import annotations

from ioi_lab.cli.config_files import options_of, read_option
from ioi_lab.cli.keys import KeyRow, rows_of
from ioi_lab.config import CONFIG_FOLDER

ROOTS = {
    "sweep": ("ioi-lab sweep", "The keys at the top of `ioi-lab sweep`, and its config groups."),
    "study": ("ioi-lab study", "The keys at the top of `ioi-lab study`, its steps, and what is chosen for them."),
    "train_align": ("ioi-lab align", "The keys at the top of `ioi-lab align`, and its config groups."),
}
"""The title and a sentence for each root config."""

GROUPS = {
    "intervention": "What is done to the model, or read from it.",
    "task": "The prompts.",
    "model": "The model.",
    "lens": "The lens of `intervention=logit_lens`: `lens@intervention.lens=tuned`, with keys `intervention.lens.…`.",
    "corpus": "The texts of `ioi-lab align`; in a transfer, `corpus@intervention.corpus=text` with keys "
    "`intervention.corpus.…`.",
    "alignment": "How maps are fitted; in a transfer, `alignment@intervention.alignment=procrustes` with keys "
    "`intervention.alignment.…`.",
    "tracker": "Weights & Biases, or none.",
}
"""A sentence for each config group with typed keys."""

PRESETS = {
    "experiment": (
        "Presets",
        ("experiment", "hparams_search"),
        "A preset sets several keys, each of which can still be set on the command line.",
    ),
    "launcher": (
        "Launchers",
        ("hydra/launcher",),
        "Launchers of sweeps that the lab adds to Hydra's. `joblib`, `ray`, `submitit_local` and `submitit_slurm` are "
        "those of their packages.",
    ),
}
"""Pages that show files as they are: title, folders in conf/, and a sentence."""


def key_pages() -> dict[str, str]:
    """Return the pages of all config keys by their names in the site."""
    pages = {name: _page(title, sentence, _table(rows_of("", name))) for name, (title, sentence) in ROOTS.items()}
    for group, sentence in GROUPS.items():
        names = options_of(group)
        links = " · ".join(f"[{name}](#{group}{name})" for name in names)
        pages[group] = _page(group, sentence, links, *(_option(group, name) for name in names))
    for name, (title, folders, sentence) in PRESETS.items():
        files = (_file(folder, path.stem) for folder in folders for path in sorted((CONFIG_FOLDER / folder).glob("*")))
        pages[name] = _page(title, sentence, *files)
    return {f"reference/keys/{name}.md": page for name, page in pages.items()}


def _page(title: str, *parts: str) -> str:
    return "\n\n".join(["---\nhide: [toc]\n---", f"# {title}", *parts]) + "\n"


def _option(group: str, option: str) -> str:
    file = read_option(group, option)
    return f"## {group}={option}\n\n{_escaped(file.description)}\n\n{_table(rows_of(group, option))}"


def _file(folder: str, name: str) -> str:
    lines = (CONFIG_FOLDER / folder / f"{name}.yaml").read_text().splitlines()
    about = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# ") and "@package" not in line)
    body = "\n".join(line for line in lines if not line.startswith("#"))
    return f"## {folder}={name}\n\n{_escaped(about)}\n\n```yaml\n{body.strip()}\n```"


def _table(rows: list[KeyRow]) -> str:
    lines = ['<div class="keys" markdown="1">', "", "| key | default | accepts | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = "required" if row.default == "???" else f"`{row.default}`"
        lines.append(f"| `{row.key}` | {default} | {_cell(row.accepts)} | {_cell(row.meaning)} |")
    return "\n".join([*lines, "", "</div>"])


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Return text without what Markdown would take for a tag, or for emphasis."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("__", "\\_\\_")
