"""The pages as one application, in process."""

from __future__ import annotations

import re

import pytest

from ioi_lab.dashboard.app import layout_at, make_app
from ioi_lab.dashboard.index import Refresher


@pytest.fixture
def app(leave, index_of):
    leave("demo/now")
    index = index_of()
    return make_app(index, Refresher(index))


def test_the_page_names_no_other_host(app):
    client = app.server.test_client()
    page = client.get("/run/demo/now")
    assert page.status_code == 200
    text = page.get_data(as_text=True)
    assert re.findall(r"(?:src|href)=\"(?!/|data:)[^\"]*", text) == []
    assert "https://" not in text
    for asset in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", text):
        assert client.get(asset).status_code == 200, asset
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    ["/assets/../app.py", "/assets/%2e%2e/app.py", "/_dash-component-suites/dash/../../x", "/assets//etc/passwd"],
)
def test_assets_do_not_lead_out_of_their_folder(app, path):
    answer = app.server.test_client().get(path)
    assert b"make_app" not in answer.data
    assert b"root:" not in answer.data


def test_strangers_get_no_layout(app):
    client = app.server.test_client()
    for path in ("/_dash-layout", "/_dash-dependencies", "/"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 403
    assert client.post("/_dash-update-component", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_page_says_that_runs_are_still_to_be_read(leave, index_of):
    leave("demo/now")
    index = index_of()
    index.waiting = 1234
    assert "1,234 runs are still to be read" in str(layout_at(index, "/sweep/demo", ""))
    assert "still to be read" not in str(layout_at(index_of(), "/sweep/demo", ""))


def test_an_unknown_address_says_so(leave, index_of):
    leave("demo/now")
    index = index_of()
    assert "There is no such page" in str(layout_at(index, "/nothing", ""))
    assert "There is no such run" in str(layout_at(index, "/run/../secret", ""))
    assert "There is no such run" in str(layout_at(index, "/run/%2e%2e%2fsecret", ""))
    assert "patch · tiny-gpt2 · ioi" in str(layout_at(index, "/run/demo/now", ""))
