"""What docs/hooks/ adds to the site: pages, links, formulas, notebooks. `make docs` builds it and checks its links."""

from __future__ import annotations

import re
import sys

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ioi_lab.config import CONFIG_FOLDER
from tests.docs.blocks import PAGES, ROOT

sys.path.insert(0, str(ROOT / "docs" / "hooks"))
from formulas import with_formulas
from keys import key_pages
from links import CARDS_OF_MODELS, PAGES_OF_FILES, with_site_links
from notebooks import notebooks_in

MAX_README = 8_000
MAX_FIGURE = 150_000


def test_every_option_has_its_keys():
    pages = key_pages()
    for group in ("intervention", "task", "model", "lens", "corpus", "alignment", "tracker"):
        page = pages[f"reference/keys/{group}.md"]
        headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
        assert headings == [f"{group}={file.stem}" for file in sorted((CONFIG_FOLDER / group).glob("*.yaml"))]
    row = "| `intervention.unit` | `vector` | vector, residual | a scale of 1 adds the vector as it is (vector), or"
    assert row in pages["reference/keys/intervention.md"]
    assert "| `model.path` | required |" in pages["reference/keys/model.md"]
    assert "| `stats.over` | `prompts` | prompts, sentences |" in pages["reference/keys/sweep.md"]
    assert "override /intervention: steer" in pages["reference/keys/experiment.md"]


def test_links_between_files_are_links_between_pages():
    links = "[a](../../runs/README.md#runs-that-steer) [b](own-model.md) [c](https://x.org/a) `[d](e.md)` [f](#here)"
    assert with_site_links(links, "how-to/sweeps.md") == (
        "[a](../reference/run-folder.md#runs-that-steer) [b](own-model.md) [c](https://x.org/a) `[d](e.md)` [f](#here)"
    )
    assert with_site_links("[a](docs/glossary.md)", "contributing.md") == "[a](glossary.md)"
    assert with_site_links("[a](../docs/architecture.md)", "reference/run-folder.md") == "[a](../architecture.md)"
    links = "[a](../docs/concepts/patching.md) [b](2_steer.ipynb) [c](1_heads_files/1.png)"
    assert with_site_links(links, "tutorials/1_heads.md", notebook=True) == (
        "[a](../concepts/patching.md) [b](2_steer.md) [c](1_heads_files/1.png)"
    )
    assert all((ROOT / file).is_file() for file in PAGES_OF_FILES)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=lambda page: page.name)
def test_links_lead_to_pages(page):
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    targets = {(page.parent / target).resolve() for target in re.findall(r"\]\(([^)\s#:]+\.md)(?:#[^)\s]*)?\)", text)}
    in_site = {ROOT / file for file in PAGES_OF_FILES} | set((ROOT / "docs").rglob("*.md"))
    in_site |= {ROOT / "docs" / page for page in key_pages()}
    assert targets - in_site == set()


def test_the_reference_lists_every_intervention():
    text = (ROOT / "docs/reference/index.md").read_text()
    names = [file.stem for file in sorted((CONFIG_FOLDER / "intervention").glob("*.yaml"))]
    assert [name for name in names if f"\n| `{name}`" not in text] == []


def test_every_packaged_model_is_listed():
    for page in ("docs/reference/index.md", "docs/how-to/own-model.md"):
        text = (ROOT / page).read_text()
        assert [card for card in CARDS_OF_MODELS if f"(../../{card})" not in text] == []


def test_formulas_are_mathml():
    page = '<p><span class="arithmatex">\\(a &lt; b\\)</span></p><div class="arithmatex">\n\\[\\frac{a}{b}\\]\n</div>'
    converted = with_formulas(page)
    assert converted.count("<math") == 2
    assert "arithmatex" not in converted
    assert "<mfrac>" in converted
    assert "&#x0003C;" in converted


def test_notebooks_are_pages(tmp_path):
    assert notebooks_in(tmp_path / "missing") == []
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    output = new_output("display_data", {"image/png": pixel, "text/plain": "<Figure>"})
    cells = [
        new_markdown_cell("# Find the heads\n\nWhich heads\n[carry](../README.md) it?"),
        new_code_cell("1 + 1", outputs=[output]),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "1-heads.ipynb")
    (notebook,) = notebooks_in(tmp_path)
    assert (notebook.page, notebook.title) == ("tutorials/1-heads.md", "Find the heads")
    assert notebook.summary == "Which heads carry it?"
    page, figure = notebook.files()
    assert figure.startswith("tutorials/1-heads_files/")
    assert f"]({figure.removeprefix('tutorials/')})" in notebook.files()[page]
    assert notebook.files()[figure].startswith(b"\x89PNG")


def test_pages_show_figures_that_are_small_and_have_a_text():
    shown = set()
    for page in PAGES:
        for tag in re.findall(r"<img [^>]*>", page.read_text()):
            source, text = re.search(r'src="([^"]+)"', tag), re.search(r'alt="[^"]{10,}"', tag)
            assert source, (page, tag)
            assert text, (page, tag)
            shown.add((page.parent / source[1]).resolve())
    assert {figure for figure in shown if not figure.is_file()} == set()
    figures = set((ROOT / "docs" / "figures").glob("*.png"))
    assert figures - shown == set(), "figures that no page shows"
    assert {figure.name for figure in figures if figure.stat().st_size > MAX_FIGURE} == set()


def test_the_readme_is_an_overview():
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= MAX_README
    rooms = {path.parent.name for path in (ROOT / "ioi_lab").glob("*/__init__.py")}
    assert {room for room in rooms if f"\n  {room}/ " not in text} == set(), "rooms without a line in the layout"
