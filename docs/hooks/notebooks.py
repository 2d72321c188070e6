"""The tutorials: executed notebooks in examples/, written as pages by nbconvert."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter


@dataclass(frozen=True)
class Notebook:
    """An executed notebook, as a page of the tutorials."""

    file: Path

    @property
    def page(self) -> str:
        """The page in the site."""
        return f"tutorials/{self.file.stem}.md"

    @property
    def title(self) -> str:
        """The first heading."""
        return self._texts[0].splitlines()[0].lstrip("# ").strip()

    @property
    def summary(self) -> str:
        """The first paragraph below the first heading."""
        paragraphs = "\n".join(self._texts).strip().split("\n\n")
        text = next((" ".join(each.split()) for each in paragraphs[1:] if not each.startswith(("#", "!"))), "")
        return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)  # links would be those of another folder

    def files(self) -> dict[str, str | bytes]:
        """Return the page and its figures by their names in the site."""
        markdown, resources = MarkdownExporter().from_filename(str(self.file))
        markdown = re.sub(r"<style scoped>.*?</style>", "", markdown, flags=re.DOTALL)
        markdown = markdown.replace('<table border="1" class="dataframe">', "<table>")  # as other tables of the site
        folder = f"{self.file.stem}_files"
        figures = {Path(name).name: content for name, content in resources["outputs"].items()}
        for name in figures:
            markdown = markdown.replace(f"]({name})", f"]({folder}/{name})")
        return {self.page: markdown} | {f"tutorials/{folder}/{name}": content for name, content in figures.items()}

    @cached_property
    def _texts(self) -> list[str]:
        cells = nbformat.read(self.file, as_version=4).cells
        return [cell.source for cell in cells if cell.cell_type == "markdown"] or [f"# {self.file.stem}"]


def notebooks_in(folder: Path) -> list[Notebook]:
    """Return the notebooks of a folder in the order of their names; none if there is no such folder."""
    return [Notebook(file) for file in sorted(folder.glob("*.ipynb")) if not re.match(r"[._]", file.name)]
