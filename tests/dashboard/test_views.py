"""Views and addresses: one gives the other."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.views import CircuitView, CompareView, RunsView, RunView, SiteView, SweepView, view_at

ODD = 'a&b=c?d#e %2e "é'


@pytest.mark.parametrize(
    "view",
    [
        RunsView(),
        RunsView(search=ODD, filters='{"model":{"filter":"x"}}', sort="age:desc,model:asc"),
        RunView(folder=f"demo/{ODD}/3", tab="map", metric="recovery", cut=("scale=4.0", f"note={ODD}"), row=17),
        CompareView(run=("a/0", f"b/{ODD}"), metric="kl"),
        SweepView(folder="s/now", kind="map", x="intervention.scale", line="seed", facet="model", metric="kl"),
        CircuitView(folder="c/now", method="eap", size=120),
        SiteView(site="9.9", model="gpt2-small"),
    ],
)
def test_an_address_gives_its_view_back(view):
    path, _, query = view.address.partition("?")
    assert view_at(path, f"?{query}" if query else "") == view
    assert "#" not in view.address
    assert " " not in view.address


def test_addresses_have_only_what_differs_from_the_default():
    assert RunsView().address == "/"
    assert RunView("demo/now").address == "/run/demo/now"
    assert CircuitView("c", size=0).address == "/circuit/c?size=0"


def test_the_runs_folder_itself_can_be_a_run():
    assert RunView(".").address == "/run"
    assert view_at("/run", "") == RunView("")


def test_what_is_no_setting_is_left_out():
    assert view_at("/run/a", "?row=-1&tab=map&what=ever&tab=figures") == RunView("a", tab="figures")
    assert view_at("/run/a", "?row=9999999999999") == RunView("a")
    assert view_at("/circuit/a", "?size=٣") == CircuitView("a")


@pytest.mark.parametrize("path", ["/no-such-page", "/compare/a", "/site/9.9", "/Run/a"])
def test_other_addresses_have_no_view(path):
    assert view_at(path, "") is None


def test_an_address_with_very_many_settings_is_read():
    view = view_at("/compare", "?" + "&".join(f"run=a/{number}" for number in range(150)))
    assert isinstance(view, CompareView)
    assert len(view.run) == 150
