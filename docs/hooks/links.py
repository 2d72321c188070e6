"""Links: Markdown files link to each other as files of the repository, so that they work there and on the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CARDS_OF_MODELS = {
    card.relative_to(ROOT).as_posix(): f"reference/{card.parent.name}.md"
    for card in sorted((ROOT / "ioi_lab" / "tiny").glob("*/README.md"))
}
"""The pages of the packaged models' cards."""

PAGES_OF_FILES = {
    "runs/README.md": "reference/run-folder.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **CARDS_OF_MODELS,
}
"""The pages that Markdown files outside of docs/ become."""

_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def with_site_links(markdown: str, page: str, *, notebook: bool = False) -> str:
    """Return the Markdown of a page with links between files of the repository as links between pages of the site.

    Args:
        markdown: The page.
        page: Its name in the site.
        notebook: Whether the page is made of a notebook in examples/, which becomes one in tutorials/.

    """
    file = next((file for file, made in PAGES_OF_FILES.items() if made == page), f"docs/{page}")
    if notebook:
        file = file.replace("docs/tutorials/", "examples/", 1)
    parts = _CODE.split(markdown)
    return "".join(part if index % 2 else _LINK.sub(_relinked(file, page), part) for index, part in enumerate(parts))


def _relinked(file: str, page: str) -> Callable[[re.Match[str]], str]:
    def relink(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), link["target"]))
        linked = PAGES_OF_FILES.get(target, target.removeprefix("docs/"))
        if linked.startswith("examples/"):
            linked = linked.replace("examples/", "tutorials/", 1).replace(".ipynb", ".md")
        path = posixpath.relpath(linked, posixpath.dirname(page) or ".")
        return f"{link['before']}{path}{link['anchor'] or ''})"

    return relink
