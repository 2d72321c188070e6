"""The planted circuits: which edges each planted network is trained to use, and nothing else.

All do indirect object identification by position. At S2, the *duplicate* head matches the name with its first mention
(its query and key read the input) and puts out where that was. The *inhibition* head moves this to END, where the
*mover* head then attends to the other name and copies it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Role = Literal["duplicate", "inhibition", "mover", "backup", "negative"]


@dataclass(frozen=True)
class Plant:
    """A planted circuit."""

    description: str
    n_layers: int
    heads: dict[str, Role]
    """The role of each head of the circuit, by its name as a writer."""

    edges: tuple[str, ...]
    """The circuit: all edges that the network can use."""

    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Subsets of `edges` by name: the two routes, the backup's or the negative head's edges."""

    cuts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each part that training drops, and for the primary mover: the edges that are ablated in order to drop it."""


def _route(duplicate: str, inhibition: str, mover: str) -> tuple[str, ...]:
    """Return the edges from S2 to the mover's query."""
    return (
        f"input->{duplicate}<q>",
        f"input->{duplicate}<k>",
        f"{duplicate}->{inhibition}<v>",
        f"{inhibition}->{mover}<q>",
    )


def _mover(mover: str) -> tuple[str, ...]:
    return f"input->{mover}<v>", f"{mover}->logits"


DUPLICATE, INHIBITION, MOVER = "a0.h1", "a1.h2", "a2.h0"
SECOND_DUPLICATE, SECOND_INHIBITION, NEGATIVE, BACKUP = "a0.h3", "a1.h0", "a2.h3", "a3.h3"

_CHAIN: Final[dict[str, Role]] = {DUPLICATE: "duplicate", INHIBITION: "inhibition", MOVER: "mover"}
_SECOND: Final[dict[str, Role]] = {SECOND_DUPLICATE: "duplicate", SECOND_INHIBITION: "inhibition"}
_FIRST_ROUTE: Final = _route(DUPLICATE, INHIBITION, MOVER)
_SECOND_ROUTE: Final = _route(SECOND_DUPLICATE, SECOND_INHIBITION, MOVER)
_BACKUP_EDGES: Final = (
    f"{INHIBITION}->{BACKUP}<q>",
    f"{MOVER}->{BACKUP}<q>",
    f"input->{BACKUP}<v>",
    f"{BACKUP}->logits",
)
_NEGATIVE_EDGES: Final = (f"{INHIBITION}->{NEGATIVE}<q>", f"input->{NEGATIVE}<v>", f"{NEGATIVE}->logits")
_ROUTES: Final = {"first route": _FIRST_ROUTE, "second route": _SECOND_ROUTE}
_ROUTE_CUTS: Final = {name: edges[-1:] for name, edges in _ROUTES.items()}

PLANTS: Final[dict[str, Plant]] = {
    "planted-plain": Plant(
        "one chain of three heads, each of whose edges is necessary",
        3,
        _CHAIN,
        _FIRST_ROUTE + _mover(MOVER),
    ),
    "planted-backup": Plant(
        "the chain, and a backup head that reads the mover and writes the answer if a circuit pass lacks the mover",
        4,
        _CHAIN | {BACKUP: "backup"},
        _FIRST_ROUTE + _mover(MOVER) + _BACKUP_EDGES,
        {"backup": _BACKUP_EDGES},
        {"mover": (f"{MOVER}->logits", f"{MOVER}->{BACKUP}<q>"), "backup": (f"{BACKUP}->logits",)},
    ),
    "planted-negative": Plant(
        "the chain, and a negative head that writes against the answer",
        3,
        _CHAIN | {NEGATIVE: "negative"},
        _FIRST_ROUTE + _mover(MOVER) + _NEGATIVE_EDGES,
        {"negative": _NEGATIVE_EDGES},
        {"negative": (f"{NEGATIVE}->logits",)},
    ),
    "planted-or": Plant(
        "two redundant routes to the mover's query, of which either suffices",
        3,
        _CHAIN | _SECOND,
        _FIRST_ROUTE + _SECOND_ROUTE + _mover(MOVER),
        _ROUTES,
        _ROUTE_CUTS,
    ),
    "planted-and": Plant(
        "two necessary routes to the mover's query, of which neither suffices",
        3,
        _CHAIN | _SECOND,
        _FIRST_ROUTE + _SECOND_ROUTE + _mover(MOVER),
        _ROUTES,
        _ROUTE_CUTS,
    ),
}
"""The planted circuits that are trained, by the name of the model."""
