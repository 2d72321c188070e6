"""The report of transfer: both directions in one table, with the fitted maps as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ioi_lab.alignment.report import identity_note
from ioi_lab.interventions.transfer.by_prompt import joined_file
from ioi_lab.interventions.transfer.head_measure import HeadSwapResult
from ioi_lab.interventions.transfer.head_report import HeadSwapReport
from ioi_lab.interventions.transfer.other_map_report import OtherMapReport
from ioi_lab.interventions.transfer.texts import with_texts
from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from ioi_lab.interventions.transfer.vector_result import VectorTransferResult
from ioi_lab.reports.charts import Curves
from ioi_lab.reports.report import Report
from ioi_lab.reports.wording import counted, sentence
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.interventions.transfer.measure import DirectionResult, TransferResult
    from ioi_lab.reports.report import ReportContext


def transfer_report(result: TransferResult, context: ReportContext) -> Report:
    """Return the report; names of metrics and figures of the direction into the run's own model have `forward`."""
    import pandas as pd

    through = "through the tokens that both have" if result.map_title is None else f"through a {result.map_title}"
    parts = {prefix: _direction_report(direction, through, context) for prefix, direction in result.directions.items()}
    others = _other_map_reports(result, context)
    is_head = isinstance(result.forward, HeadSwapResult)
    report = Report(
        table=pd.concat([part.table() for part in parts.values()], ignore_index=True),
        metrics={
            f"{prefix}_{name}": value
            for prefix, part in (*parts.items(), *others.items())
            for name, value in part.metrics().items()
        },
        draw=lambda: _figures(parts) | {f"two_maps_{prefix}": each.figure() for prefix, each in others.items()},
        summary=_notes(result)
        + [line for part in parts.values() for line in part.summary()]
        + [each.line for each in others.values()],
        files=_files(result, parts, others),
        provenance={"source_model": result.source_model},
        headline="forward_share_beyond_mean" if is_head else "forward_share_of_native",
        charts=[Curves("logit_diff_by_scale", "scale", "logit_diff", ("direction", "vector", "layer", "source_layer"))],
    )
    verdicts = [part.verdict for part in parts.values()]
    verdicts += [part.answer_of_pairs for part in parts.values() if isinstance(part, HeadSwapReport)]
    verdicts += [sentence(each.line) for each in others.values()]
    captions = {f"{name}_{prefix}": text for prefix, part in parts.items() for name, text in part.captions.items()}
    captions |= {f"two_maps_{prefix}": each.caption for prefix, each in others.items()}
    return with_texts(report, result, context, verdicts=verdicts, captions=captions)


def _other_map_reports(result: TransferResult, context: ReportContext) -> dict[str, OtherMapReport]:
    if result.other_map is None or result.map_title is None:
        return {}
    reports, titles = {}, (result.map_title, result.other_map.title)
    for prefix, other in result.other_map.directions.items():
        first = result.directions[prefix]
        assert isinstance(first, VectorTransferResult)
        reports[prefix] = OtherMapReport((first, other), titles, context)
    return reports


def _files(
    result: TransferResult,
    parts: Mapping[str, VectorTransferReport | HeadSwapReport],
    others: Mapping[str, OtherMapReport],
) -> dict[str, bytes]:
    import pandas as pd

    files = joined_file([direction.by_prompt for direction in result.directions.values()])
    tables = [
        part.slope_table().assign(map=result.map_title)
        for part in parts.values()
        if isinstance(part, VectorTransferReport)
    ]
    tables += [other.slope_table() for other in others.values()]
    if tables:
        files["slopes.csv"] = csv_bytes(pd.concat(tables, ignore_index=True))
    pairs = [part.pair_table() for part in parts.values() if isinstance(part, HeadSwapReport)]
    if pairs:
        files["pairs.csv"] = csv_bytes(pd.concat(pairs, ignore_index=True))
    if rows := [row for part in parts.values() if isinstance(part, HeadSwapReport) for row in part.training_rows()]:
        files["training.csv"] = csv_bytes(pd.DataFrame(rows))
    if result.new_maps_file is not None:
        files["maps.safetensors"] = result.new_maps_file
    return files


def _direction_report(
    direction: DirectionResult, through: str, context: ReportContext
) -> VectorTransferReport | HeadSwapReport:
    if isinstance(direction, HeadSwapResult):
        return HeadSwapReport(direction, through, context)
    return VectorTransferReport(direction, through, context)


def _figures(parts: Mapping[str, VectorTransferReport | HeadSwapReport]) -> dict[str, Figure]:
    return {f"{name}_{prefix}": figure for prefix, part in parts.items() for name, figure in part.figures().items()}


def _notes(result: TransferResult) -> list[str]:
    lines = []
    if result.n_dropped_prompts:
        lines.append(
            f"left out: {counted(result.n_dropped_prompts, 'prompt')} with names that are in both halves, or that are "
            f"not single tokens in {result.forward.source}"
        )
    if result.is_one_model:
        lines.append(identity_note(result.largest_distance_from_identity))
    return lines
