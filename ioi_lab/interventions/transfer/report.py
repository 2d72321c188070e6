"""What carrying directions and heads across models found, in either direction and as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.alignment.align import distance_from_identity, save_maps
from ioi_lab.interventions.base import Measurement, Report
from ioi_lab.interventions.transfer.head_report import SwappedHead
from ioi_lab.interventions.transfer.vector_report import CarriedVector
from ioi_lab.transfer.heads import Swap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.interventions.transfer.config import Transfer, Transferred

WAYS: Final = ("forward", "backward")


def transfer_report(transfer: Transfer, measurement: Measurement) -> Report:
    """Both directions (`forward`: into the run's own model) in one report, with new maps as a file."""
    import pandas as pd

    seen: Transferred = measurement.observed
    parts = _directions(transfer, measurement, seen)
    metrics: dict[str, float] = {}
    for prefix, part in zip(WAYS, parts, strict=False):
        metrics |= {f"{prefix}_{name}": value for name, value in part.metrics().items()}

    def draw() -> dict[str, Figure]:
        named = zip(WAYS, parts, strict=False)
        return {f"{name}_{prefix}": figure for prefix, part in named for name, figure in part.figures().items()}

    is_new = seen.maps is not None and transfer.maps is None
    return Report(
        table=pd.concat([part.table() for part in parts], ignore_index=True),
        metrics=metrics,
        draw=draw,
        summary=_notes(seen) + [line for part in parts for line in part.summary()],
        files={"maps.safetensors": save_maps(seen.maps, seen.models)} if is_new and seen.maps is not None else {},
        prompts=parts[0].measurement.prompt_table(),
        provenance={"source_model": seen.models[0].provenance},
        headline="forward_share_of_own" if transfer.method == "functional" else "forward_share_of_native",
    )


def _directions(transfer: Transfer, measurement: Measurement, seen: Transferred) -> list[CarriedVector | SwappedHead]:
    through = f"through a {seen.maps.title}" if seen.maps is not None else "through the tokens that both have"
    found: list[CarriedVector | SwappedHead] = []
    for way, result in enumerate(seen.results):
        target = result.target if isinstance(result, Swap) else result.target.side
        own = replace(
            measurement,
            shape=target.model.shape,
            prompts=target.held_out.prompts,
            clean=result.clean,
            corrupted=result.corrupted,
            bootstrap=measurement.bootstrap.over(len(target.held_out.prompts)),
        )
        if isinstance(result, Swap):
            assert seen.maps is not None
            found.append(SwappedHead(transfer, own, through, result, seen.maps.r2[way]))
        else:
            r2 = None if seen.maps is None else seen.maps.r2[way]
            found.append(CarriedVector(transfer, own, through, result, r2))
    return found


def _notes(seen: Transferred) -> list[str]:
    source, target = seen.models
    lines = []
    result = seen.results[0]
    side = result.target if isinstance(result, Swap) else result.target.side
    if side.contrast.n_dropped:
        lines.append(
            f"{side.contrast.n_dropped} prompts left out: their names stand in both halves, or are no single tokens in "
            f"{source.shape.name}"
        )
    if source.weights_sha256 == target.weights_sha256:
        near = ""
        if seen.maps is not None:
            same = [distance_from_identity(fitted) for (i, j), fitted in seen.maps.forward.items() if i == j]
            near = f"; between equal layers they are off by at most {max(same):.2g} of its size" if same else ""
        lines.append(f"note: source and model are the same: maps should be near the identity{near}")
    return lines
