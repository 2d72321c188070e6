"""The page of attention patterns in a real browser, headless and offline."""

from __future__ import annotations

import json

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from ioi_lab.reports.pages import attention_page
from tests.browser import browser_path

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
TOKENS = ["<bos>", "When", HOSTILE, " John", " ", "\n"]


@pytest.fixture(scope="module")
def browser():
    path = browser_path()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def patterns():
    """Causal patterns of 3 layers × 2 heads, which all differ."""
    rng = np.random.default_rng(0)
    weights = np.tril(rng.random((3, 2, len(TOKENS), len(TOKENS))))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.fixture
def page(browser, patterns, tmp_path):
    """The opened page, which must request nothing but itself and raise no error."""
    file = tmp_path / "attention.html"
    file.write_text(attention_page("Patterns <b>of</b> toy", TOKENS, {"BOS": 0, "END": 5}, patterns, (1, 0)))
    context = browser.new_context(offline=True)
    opened = context.new_page()
    requests, errors = [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text))
    opened.goto(file.as_uri())
    yield opened
    assert requests == [file.as_uri()]
    assert errors == []
    context.close()


def colours(page):
    return page.eval_on_selector_all("#pattern td", "cells => cells.map(cell => cell.style.background)")


def weight_at(page, query, key):
    page.hover(f'#pattern td[data-query="{query}"][data-key="{key}"]')
    return page.inner_text("#reading")


def test_it_opens_at_the_head_that_was_asked_for(page):
    assert page.input_value("#layer") == "1"
    assert page.input_value("#head") == "0"
    assert page.locator("#heads button").count() == 2
    assert page.get_attribute("#heads button >> nth=0", "aria-pressed") == "true"


def test_hovering_shows_tokens_labels_and_weights(page, patterns):
    reading = weight_at(page, 5, 3)
    assert reading == f"1.0: “\\n” (END) attends to “John”: {patterns[1, 0, 5, 3]:.4f}"
    page.hover("#text span >> nth=1")
    assert page.inner_text("#reading").startswith("1.0: “When” attends to “")
    assert page.get_attribute("#text span >> nth=0", "title").endswith(f"(BOS): {patterns[1, 0, 1, 0]:.4f}")


def test_every_layer_and_head_has_a_picture_of_its_own(page, patterns):
    pictures = set()
    for layer in range(3):
        for head in range(2):
            page.select_option("#layer", str(layer))
            page.select_option("#head", str(head))
            pictures.add(tuple(colours(page)))
            assert weight_at(page, 4, 2).endswith(f"{patterns[layer, head, 4, 2]:.4f}")
    assert len(pictures) == 6


def test_keys_and_small_pictures_switch_too(page):
    first = colours(page)
    page.keyboard.press("ArrowRight")
    assert page.input_value("#head") == "1"
    second = colours(page)
    assert second != first
    page.click("#heads button >> nth=0")
    assert colours(page) == first
    page.keyboard.press("ArrowUp")
    assert page.input_value("#layer") == "0"
    page.keyboard.press("ArrowUp")
    assert page.input_value("#layer") == "2"
    assert page.locator("#heads canvas").count() == 2


def test_the_small_pictures_show_the_weights(page, patterns):
    blue = page.evaluate(
        "document.querySelectorAll('#heads canvas')[1].getContext('2d').getImageData(2, 4, 1, 1).data[0]"
    )
    assert blue == pytest.approx(255 + (8 - 255) * patterns[1, 1, 4, 2], abs=1)


def test_markup_in_tokens_is_shown_as_text(page):
    assert page.title() == "Patterns <b>of</b> toy"
    assert page.locator("img").count() == 0
    assert page.locator("body script").count() == 2
    assert page.inner_text("#pattern tr >> nth=2 >> th") == HOSTILE
    assert page.inner_text("#text span >> nth=2") == HOSTILE


def test_no_request_could_leave(patterns):
    text = attention_page("t", TOKENS, {}, patterns, (0, 0))
    assert "default-src 'none'" in text
    assert "http:" not in text
    assert "https:" not in text
    assert text.count("</script>") == 2


def test_a_token_cannot_change_the_direction_of_the_page(patterns):
    """Neither a bidirectional override nor an escape sequence is in the file, which may be read in a terminal too."""
    page = attention_page("a\u202eb", ["\x1b[2J", "\u2066x", "\x9b31m", "a", "b", "c"], {}, patterns, (0, 0))
    assert not {"\u202e", "\u2066", "\x1b", "\x9b"} & set(page)
    assert json.dumps(r"a\u202eb") in page
    assert json.dumps(r"\x1b[2J") in page
