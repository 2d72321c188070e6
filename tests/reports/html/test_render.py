"""Pages as HTML: complete, self-contained, and safe whatever the texts are; in a browser, tables sort."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from playwright.sync_api import sync_playwright

from ioi_lab.reports.definitions import Method
from ioi_lab.reports.html.page import Page, PageFigure, PageTable
from ioi_lab.reports.html.render import details_of, facts_of, render
from tests.browser import browser_path

HOSTILE = "</title></script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
PNG = (  # one pixel
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\r"
    b"IDATx\xdac\xfc\xff\xff?\x00\x05\xfe\x02\xfe\xa75\x81\x84\x00\x00\x00\x00IEND\xaeB`\x82"
)


@pytest.fixture
def page():
    """A page whose texts all are hostile."""
    table = pd.DataFrame({HOSTILE: ["b", HOSTILE, "a"], "effect": [0.5, None, -2.0]})
    return Page(
        HOSTILE,
        question=f"{HOSTILE}?",
        answer=[HOSTILE],
        details=[HOSTILE, f"  {HOSTILE}"],
        figures=[PageFigure(HOSTILE, PNG, HOSTILE)],
        tables=[PageTable(HOSTILE, table, HOSTILE, HOSTILE)],
        prompts=pd.DataFrame({"clean": [HOSTILE, "\x1b[31m"]}),
        methods=[Method(HOSTILE, HOSTILE, HOSTILE)],
        limits=[HOSTILE],
        command=HOSTILE,
        config=HOSTILE,
        provenance={HOSTILE: {"a": [HOSTILE]}},
    )


class Elements(HTMLParser):
    """The tags of a text with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_texts_are_escaped_and_nothing_is_loaded(page):
    text = render(page, [page])
    elements = Elements(text).found
    assert [tag for tag, _ in elements].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in elements for name in attributes)
    sources = [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "srcset")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(attributes["href"].startswith("#") for tag, attributes in elements if "href" in attributes)
    assert not any(tag in ("link", "iframe", "object") for tag, _ in elements)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "\\x1b[31m" in text


def test_links_lead_to_places_in_the_page(page):
    elements = Elements(render(page, [page, page])).found
    places = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(places) == len(set(places))
    links = {attributes["href"][1:] for tag, attributes in elements if tag == "a"}
    assert links <= set(places)
    assert {"part-1", "part-2"} <= links


def test_what_is_empty_is_left_out():
    text = render(Page("patch z"))
    assert "patch z" in text
    assert "<h2" not in text
    assert "Provenance" not in text


def test_rows_belong_to_the_line_before_them():
    details = details_of(["top heads:", "  9.9   0.5", "    more", "8 of 16"])
    assert [(detail.line, detail.rows) for detail in details] == [
        ("top heads:", ["9.9   0.5", "  more"]),
        ("8 of 16", []),
    ]


def test_facts_have_full_names():
    facts = dict(facts_of({"model": {"name": "tiny", "revision": None}, "modules": list("abcdefghijk"), "seed": 0}))
    assert facts == {"model.name": "tiny", "modules": "a, b, c, d, e, f, g, h and 3 more", "seed": "0"}


@pytest.mark.long
def test_tables_sort_in_a_browser_and_the_page_prints(page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(render(page, [page]), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": 390, "height": 800})
        opened, requests, errors = context.new_page(), [], []
        opened.on("request", lambda request: requests.append(request.url))
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("console", lambda message: errors.append(message.text))
        opened.goto(file.as_uri())
        assert opened.title() == page.title
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
        effects = "table >> nth=0 >> tbody td:nth-child(2)"
        head = opened.locator("table >> nth=0 >> th button >> nth=1")
        assert opened.locator(effects).all_inner_texts() == ["0.5", "", "−2"]
        head.click()
        assert opened.locator(effects).all_inner_texts() == ["−2", "0.5", ""]
        head.click()
        assert opened.locator(effects).all_inner_texts() == ["0.5", "−2", ""]
        assert opened.pdf(format="A4").startswith(b"%PDF")
        assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
        assert errors == []
        browser.close()
