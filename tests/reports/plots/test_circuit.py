from __future__ import annotations

from ioi_lab.reports import plots
from tests.reports.plots.helpers import texts

ROLES = {"induction": "#cccccc", "name mover": "#eeeeee", "backup name mover": "#dddddd"}


def test_a_circuit_has_a_box_per_role_of_a_head_and_an_arrow_per_effect():
    nodes = [plots.Node("5.5", 5, "induction"), plots.Node("9.9", 9, "name mover"), plots.Node("9.6", 9, "name mover")]
    effects = [plots.Effect("5.5", "9.9", 0.2), plots.Effect("9.9", plots.LOGITS, -0.4)]
    figure = plots.circuit(nodes, effects, ROLES, "title", "caption")
    ax = figure.axes[0]
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["9.9"][1] == places["9.6"][1] > places["5.5"][1]
    assert places["5.5"][0] < places["9.9"][0] < places["9.6"][0]
    assert places["logits"][1] > places["9.9"][1]
    assert "none" in places  # there is no backup name mover
    first, second = ax.patches
    assert second.get_linewidth() > first.get_linewidth()
    assert first.get_edgecolor() != second.get_edgecolor()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["5", "9"]


def test_a_circuit_without_heads_is_empty():
    figure = plots.circuit([], [], ROLES, "title", "caption")
    assert texts(figure.axes[0]).count("none") == 3
    assert plots.png(figure).startswith(b"\x89PNG")


def test_arrows_of_a_head_with_two_roles_start_at_its_rightmost_box():
    nodes = [plots.Node("5.5", 5, "induction"), plots.Node("5.5", 5, "name mover")]
    figure = plots.circuit(nodes, [plots.Effect("5.5", plots.LOGITS, 0.3)], ROLES, "title", "caption")
    ax = figure.axes[0]
    boxes = [text.get_position() for text in ax.texts if text.get_text() == "5.5"]
    (arrow,) = ax.patches
    assert arrow._posA_posB[0] == max(boxes)
    assert len(boxes) == 2
