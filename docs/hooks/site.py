"""What MkDocs does in addition while it builds the site: pages that are made, links between files, formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from formulas import with_formulas
from keys import key_pages
from links import CARDS_OF_MODELS, PAGES_OF_FILES, ROOT, with_site_links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import Notebook, notebooks_in

import ioi_lab

LIST_OF_NOTEBOOKS = "<!-- list of notebooks -->"
PUBLIC_NAMES = "<!-- public names of ioi_lab -->"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the notebooks and the cards of packaged models to their sections of the navigation."""
    made = {"Tutorials": [notebook.page for notebook in _notebooks()], "Reference": [*CARDS_OF_MODELS.values()]}
    for section in config.nav or []:
        for title in made.keys() & section:
            section[title] += made[title]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files in docs/: config keys, notebooks, and Markdown files of other folders."""
    made: dict[str, str | bytes] = {page: (ROOT / file).read_text() for file, page in PAGES_OF_FILES.items()}
    made |= key_pages()
    for notebook in _notebooks():
        made |= notebook.files()
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links at pages of the site, and fill in the list of notebooks."""
    listed = "\n".join(f"- [{each.title}]({Path(each.page).name}): {each.summary}" for each in _notebooks())
    filled = markdown.replace(LIST_OF_NOTEBOOKS, listed).replace(PUBLIC_NAMES, _public_names())
    is_notebook = page.file.src_uri in [each.page for each in _notebooks()]
    return with_site_links(filled, page.file.src_uri, notebook=is_notebook)


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw without a script."""
    return with_formulas(html)


def _public_names() -> str:
    """Return a line for mkdocstrings for each name in `ioi_lab.__all__`, those that run and load experiments first."""
    names = [name for name in ioi_lab.__all__ if not name.startswith("_")]
    names.sort(key=lambda name: ".python." not in str(getattr(getattr(ioi_lab, name), "__module__", "")))
    return "\n".join(f"::: ioi_lab.{name}" for name in names)


def _notebooks() -> list[Notebook]:
    return notebooks_in(ROOT / "examples")
