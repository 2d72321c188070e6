"""Interactive pages: each is one self-contained HTML file, which loads nothing and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jaxtyping import Float

from ioi_lab.stats.metrics import Array
from ioi_lab.terminal import printable

_DECIMALS = 4


def attention_page(
    title: str,
    tokens: Sequence[str],
    labels: Mapping[str, int],
    patterns: Float[Array, "layer head query_pos key_pos"],
    start: tuple[int, int],
) -> str:
    """Return a page for looking through a prompt's attention patterns, which opens at the head `start` (layer, head).

    `labels` are names of positions. Weights have four decimals. Control characters and bidirectional overrides are
    shown as escapes.
    """
    weights = [
        [[[round(float(w), _DECIMALS) for w in row[: query + 1]] for query, row in enumerate(head)] for head in layer]
        for layer in patterns
    ]
    named = {str(position): label for label, position in labels.items()}
    content = {
        "title": printable(title),
        "tokens": [printable(token) for token in tokens],
        "labels": named,
        "weights": weights,
        "start": list(start),
    }
    template = (files(__name__) / "attention.html").read_text(encoding="utf-8")
    return template.replace("/*DATA*/", _as_script_data(content))


def _as_script_data(content: Mapping[str, Any]) -> str:
    """Return JSON that no token in it can end early: `</script>` and `<!--` are written without their `<`."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
