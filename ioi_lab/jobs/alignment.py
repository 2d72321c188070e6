"""The job of `ioi-lab align`: fit maps between two models' residual streams and try them on held-out texts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from omegaconf import DictConfig
from pydantic import Field
from typing_extensions import override

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.config import LabConfig, instantiate
from ioi_lab.errors import LabError, called
from ioi_lab.jobs.experiment import EngineMemory
from ioi_lab.jobs.job import Job, Outcome, PreparedJob
from ioi_lab.models.loading import ModelConfig, load_model
from ioi_lab.models.precision import in_low_precision
from ioi_lab.programs import typed_command
from ioi_lab.runs.figure_files import FigureFiles, Figures
from ioi_lab.runs.tracking import TrackerConfig

log = logging.getLogger(__name__)


class AlignmentKeys(LabConfig):
    """The keys at the top of an alignment's config."""

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    resume: bool = True
    resume_from: str | None = None
    figures: Figures = FigureFiles()
    engine: EngineMemory = EngineMemory()

    def check(self) -> None:
        """Raise a `LabError` if `resume_from` is not the folder of an interrupted run."""
        from ioi_lab.alignment.reading import CHECKPOINT

        if self.resume_from is not None and not (Path(self.resume_from) / CHECKPOINT).is_file():
            raise LabError(
                f"resume_from: {self.resume_from!r} does not contain {CHECKPOINT}; expected the folder of an "
                "interrupted run"
            )


@dataclass(frozen=True)
class AlignmentJob(Job):
    """A checked config: source × target × corpus × alignment."""

    COMMAND = "align"

    keys: AlignmentKeys
    source: ModelConfig
    target: ModelConfig
    corpus: Corpus
    alignment: AlignmentConfig
    tracker: TrackerConfig
    figures: FigureFiles

    @classmethod
    @override
    def from_config(cls, config: dict[str, Any], given: Mapping[str, ModelConfig]) -> Self:
        groups = {key: config.get(key) or {} for key in ("source", "target", "corpus", "alignment", "tracker")}
        keys = AlignmentKeys.from_config({key: value for key, value in config.items() if key not in groups}, "")
        job = cls(
            keys=keys,
            source=given.get("source") or ModelConfig.from_config(groups["source"], "source"),
            target=given.get("target") or ModelConfig.from_config(groups["target"], "target"),
            corpus=instantiate(groups["corpus"], "corpus", Corpus),
            alignment=AlignmentConfig.from_config(groups["alignment"], "alignment"),
            tracker=TrackerConfig.from_config(groups["tracker"], "tracker"),
            figures=keys.figures,
        )
        for key in ("source", "target"):
            with called("model", key):
                getattr(job, key).check()
        for part in (job.keys, job.corpus, job.alignment, job.tracker):
            part.check()
        return job

    @property
    @override
    def title(self) -> str:
        return f"align ({self.alignment.title}) · {self.source.label} · {self.target.label}"

    @property
    @override
    def kind(self) -> str:
        return "align"

    @property
    @override
    def tags(self) -> tuple[str, ...]:
        return self.source.label, self.target.label

    @property
    @override
    def models(self) -> dict[str, ModelConfig]:
        return {"source": self.source, "target": self.target}

    @override
    def measure(self, folder: Path) -> Outcome:
        """Load, read, fit, try and report; if interrupted, log the command that continues."""
        from ioi_lab.alignment.align import align, stitch
        from ioi_lab.alignment.map_files import Maps, save_maps
        from ioi_lab.alignment.measure import measure_alignment
        from ioi_lab.alignment.pairing import Pairing
        from ioi_lab.alignment.reading import CHECKPOINT, Reader
        from ioi_lab.alignment.report import alignment_report
        from ioi_lab.alignment.training_checkpoint import TRAINING

        with called("model", "source"):
            source = load_model(self.source)
        with called("model", "target"):
            target = load_model(self.target)
        checkpoint = folder / CHECKPOINT
        resume = Path(self.keys.resume_from) / CHECKPOINT if self.keys.resume_from is not None else None
        kept = checkpoint, folder / TRAINING
        if checkpoint != resume:
            _remove(kept)  # of an earlier run in this folder
        pairing = Pairing.of(self.alignment, (source, target), self.keys.engine.memory_gb)
        reader = Reader(pairing, self.corpus, self.alignment, self.keys.seed, checkpoint, resume)
        try:
            alignment = align(reader, pairing, self.alignment)
            stitching = stitch(reader, pairing, alignment, self.alignment)
        except BaseException:
            if checkpoint.is_file():
                where = os.path.relpath(folder)
                log.warning(
                    "to go on: %s --config-dir %s --config-name config resume_from=%s",
                    typed_command(self.COMMAND),
                    where,
                    where,
                )
            raise
        _remove(kept)
        maps = Maps.of(alignment, self.alignment, self.corpus.title)
        counts = {"n_positions": alignment.n_positions, "n_held_out": alignment.n_held_out}
        result = measure_alignment(alignment, stitching, pairing, self.alignment, self.corpus.title, self.keys.seed)
        maps_file = save_maps(maps, pairing.models, **counts)
        report = alignment_report(result, maps_file, in_low_precision(self.models))
        return Outcome(report, {"source": source.provenance, "target": target.provenance, "seed": self.keys.seed})


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def prepare_alignment(config: DictConfig, given: Mapping[str, ModelConfig] | None = None) -> PreparedJob:
    """Return the alignment that a composed config asks for; `given`: see `Job.from_config`."""
    return PreparedJob(config, AlignmentJob, given)
