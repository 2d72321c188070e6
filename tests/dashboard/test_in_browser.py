"""The dashboard in a real browser, headless: pages, live tables, addresses that hold the view, no other host."""

from __future__ import annotations

import json
import re
import threading

import pytest
from playwright.sync_api import expect, sync_playwright

from ioi_lab.dashboard.app import make_app
from ioi_lab.dashboard.index import Index, Refresher
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.server import listening
from tests.browser import browser_path
from tests.dashboard.conftest import HOSTILE, heads_table

pytestmark = pytest.mark.long
expect.set_options(timeout=20_000)


@pytest.fixture
def address(leave, leave_circuit, runs_folder):
    """The address of a server with a few runs, one of which has a hostile report and hostile prompts."""
    hostile = leave("hostile", {"task.name": HOSTILE})
    (hostile / "report.html").write_text("<script>top.document.title = 'owned'</script><p id='x'>report</p>")
    for layer in range(3):
        run = leave(f"sweep/now/{layer}", {"intervention.layer": layer}, table=heads_table(layer))
    (run.parent / "multirun.yaml").write_text("{}")
    leave("going", status="failed", error=HOSTILE)
    leave_circuit("circuit")
    index = Index(RunsFolder(runs_folder))
    index.refresh()
    refresher = Refresher(index, pause=0.1)
    refresher.start()
    server = listening(make_app(index, refresher).server, None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()


@pytest.fixture
def page(address):
    """A page of a browser that must ask no other host and raise no error."""
    path = browser_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1000})
        opened.set_default_timeout(20_000)
        strangers, errors = [], []
        opened.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "data:", "blob:")) else strangers.append(request.url)
            ),
        )
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("dialog", lambda dialog: errors.append(dialog.message))
        opened.on("console", lambda text: errors.append(text.text) if text.type == "error" else None)
        yield opened
        assert strangers == []
        assert [error for error in errors if "sandbox" not in error and "cross-origin" not in error] == []
        browser.close()


def rows(page):
    return page.locator(".ag-center-cols-container .ag-row")


def test_the_table_is_live_and_the_address_holds_search_and_order(page, address, leave, runs_folder):
    page.goto(address)
    expect(rows(page)).to_have_count(6)
    status = runs_folder / "going" / "status.json"
    status.write_text(json.dumps({"status": "failed", "error": "it went on"}))
    leave("new one")
    expect(rows(page)).to_have_count(7)
    expect(page.locator(".ag-row", has_text="it went on")).to_have_count(1)
    page.fill("#runs-search", "sweep")
    expect(rows(page)).to_have_count(3)
    page.click(".ag-header-cell[col-id=folder] .ag-header-cell-label")
    page.click(".ag-header-cell[col-id=folder] .ag-header-cell-label")
    page.wait_for_url(re.compile("sort=folder%3Adesc"))
    assert "search=sweep" in page.url
    page.reload()
    expect(rows(page)).to_have_count(3)
    expect(page.locator(".ag-row[row-index='0']")).to_contain_text("sweep/now/2")
    page.click("text=sweep/now/2")
    page.wait_for_url(f"{address}/run/sweep/now/2")
    page.go_back()
    expect(rows(page)).to_have_count(3)
    page.click("header >> text=Runs")
    expect(rows(page)).to_have_count(7)


def test_a_click_on_the_map_shows_prompts_and_texts_are_text(page, address):
    page.goto(f"{address}/run/hostile?tab=map")
    cells = page.locator("#run-map .nsewdrag").first
    cells.wait_for()
    box = cells.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 6)
    expect(page.locator("#run-prompts")).to_contain_text("z 0.1: 8 prompts")
    expect(page.locator("#run-table .ag-center-cols-container")).to_contain_text(HOSTILE)
    page.wait_for_url(re.compile("row=1"))
    page.reload()
    expect(page.locator("#run-prompts")).to_contain_text("z 0.1: 8 prompts")
    assert page.locator("main img").count() == 0
    assert page.title() == "IOI lab"
    page.click("text=head 0.1 in all runs")
    expect(page.locator("#site-content")).to_contain_text("head 0.1 in 4 runs")


def test_a_report_cannot_reach_the_page_around_it(page, address):
    page.goto(f"{address}/run/hostile")
    expect(page.frame_locator("iframe").locator("#x")).to_have_text("report")
    assert page.title() == "IOI lab"


def test_two_runs_are_ticked_and_compared(page, address):
    page.goto(f"{address}/?search=sweep")
    expect(rows(page)).to_have_count(3)
    for row in (0, 1):
        page.click(f".ag-row[row-index='{row}'] .ag-selection-checkbox")
    page.click("text=Compare 2 runs")
    page.wait_for_url(re.compile(r"/compare\?run=.*&run="))
    expect(page.locator("#compare-content")).to_contain_text("differences are paired by prompt")
    expect(page.locator("#compare-scatter .plot-container")).to_be_visible()


def test_the_slider_redraws_the_circuit(page, address):
    page.goto(f"{address}/circuit/circuit?size=5")
    expect(page.locator("#circuit-words")).to_contain_text("of the 5 best")
    page.focus("#circuit-size [role=slider]")
    page.keyboard.press("End")
    page.wait_for_url(re.compile("size=(?!5$)"))
    expect(page.locator("#circuit-words")).not_to_contain_text("of the 5 best")


def test_the_axes_of_a_sweep_are_chosen(page, address):
    page.goto(f"{address}/sweep/sweep/now?kind=map")
    expect(page.locator("#sweep-words")).to_contain_text("Each cell is one run.")
    page.click("#sweep-kind")
    page.click("text=lines")
    expect(page.locator("#sweep-words")).to_contain_text("own 95 % intervals")
    page.wait_for_url(re.compile("kind=line"))
    page.reload()
    expect(page.locator("#sweep-words")).to_contain_text("own 95 % intervals")
