"""Roles that heads of both models have, by the evidence of `intervention=head_roles` on the training prompts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.interventions.head_roles.config import RoleKeys
from ioi_lab.interventions.head_roles.measure import measure_head_roles
from ioi_lab.models.heads import head_name
from ioi_lab.transfer.heads import Role

if TYPE_CHECKING:
    from ioi_lab.transfer.head_maps import Head
    from ioi_lab.transfer.shared_prompts import ModelOnPrompts

log = logging.getLogger(__name__)

N_REFERENCE = 16
"""The number of reference prompts of each sentence and order, whose means knock out heads: as in `head_roles`."""


def roles_of(model: ModelOnPrompts, layers: Sequence[int], seed: int) -> dict[str, list[Head]]:
    """Return the heads of each role, in some layers; roles without heads are left out.

    Raises a `LabError` for prompts that roles are not defined on, and for fewer than 8 of them in either order.
    """
    keys, engine = RoleKeys(), model.training
    knockout = Knockout(engine, N_REFERENCE, seed)
    result = measure_head_roles(engine, keys.thresholds, keys.repeats, keys.controls, knockout, seed)
    in_layers = {role: [head for head in heads if head[0] in layers] for role, heads in result.roles.items()}
    return {role: heads for role, heads in in_layers.items() if heads}


def shared_roles(of_source: dict[str, list[Head]], of_target: dict[str, list[Head]]) -> list[Role]:
    """Return the roles that heads of both models have; without one, heads are paired by patching, which is logged."""
    shared = [Role(role, heads, of_target[role]) for role, heads in of_source.items() if role in of_target]
    if not shared:
        log.warning(
            "intervention.head_pairs: no role has heads in both models (source: %s; target: %s): the best heads by "
            "patching are paired instead",
            _listed(of_source),
            _listed(of_target),
        )
    return shared


def _listed(roles: dict[str, list[Head]]) -> str:
    return ", ".join(f"{role} {' '.join(map(head_name, heads))}" for role, heads in roles.items()) or "none"
