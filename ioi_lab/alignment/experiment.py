"""What train_align.py does: two models, a corpus and a way to map → maps, tried and tracked."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from ioi_lab.alignment.config import AlignmentConfig, Pairing
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.errors import LabError, called
from ioi_lab.experiment import EngineMemory, Job
from ioi_lab.interventions.base import Report
from ioi_lab.models import ModelConfig, load_model
from ioi_lab.schema import LabConfig, instantiate
from ioi_lab.tracking import TrackerConfig

log = logging.getLogger(__name__)


class Root(LabConfig):
    """The keys at the top of a config."""

    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    resume: bool
    resume_from: str | None
    engine: EngineMemory

    def check(self) -> None:
        """Tell a folder that holds nothing to go on from."""
        from ioi_lab.alignment.reading import CHECKPOINT

        if self.resume_from is not None and not (Path(self.resume_from) / CHECKPOINT).is_file():
            raise LabError(
                f"resume_from: {self.resume_from!r} holds no {CHECKPOINT}; expected the folder of an interrupted run"
            )


@dataclass(frozen=True)
class AlignmentJob(Job):
    """A checked config: source × target × corpus × alignment."""

    COMMAND = "train_align.py"

    root: Root
    source: ModelConfig
    target: ModelConfig
    corpus: Corpus
    alignment: AlignmentConfig
    tracker: TrackerConfig

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Every group by its own class."""
        groups = {key: config.get(key) or {} for key in ("source", "target", "corpus", "alignment", "tracker")}
        job = cls(
            root=Root.from_config({key: value for key, value in config.items() if key not in groups}, ""),
            source=ModelConfig.from_config(groups["source"], "source"),
            target=ModelConfig.from_config(groups["target"], "target"),
            corpus=instantiate(groups["corpus"], "corpus", Corpus),
            alignment=AlignmentConfig.from_config(groups["alignment"], "alignment"),
            tracker=TrackerConfig.from_config(groups["tracker"], "tracker"),
        )
        for key in ("source", "target"):
            with called("model", key):
                getattr(job, key).check()
        for part in (job.root, job.corpus, job.alignment, job.tracker):
            part.check()
        return job

    @property
    def title(self) -> str:
        """Such as `align (ridge map) · tiny-gpt2 · tiny-pythia`."""
        return f"align ({self.alignment.title}) · {self.source.label} · {self.target.label}"

    @property
    def kind(self) -> str:
        """As for all alignments."""
        return "align"

    @property
    def tags(self) -> tuple[str, ...]:
        """Both models."""
        return self.source.label, self.target.label

    @property
    def models(self) -> dict[str, ModelConfig]:
        """Both."""
        return {"source": self.source, "target": self.target}

    def measure(self, folder: Path) -> tuple[Report, dict[str, Any]]:
        """Load, read, fit, try and report; interrupted, tell how to go on."""
        from ioi_lab.alignment.align import align
        from ioi_lab.alignment.reading import CHECKPOINT, Reader
        from ioi_lab.alignment.report import AlignmentReport

        with called("model", "source"):
            source = load_model(self.source)
        with called("model", "target"):
            target = load_model(self.target)
        checkpoint = folder / CHECKPOINT
        resume = Path(self.root.resume_from) / CHECKPOINT if self.root.resume_from is not None else None
        if checkpoint != resume:
            checkpoint.unlink(missing_ok=True)  # of an earlier run in this folder
        pairing = Pairing.of(self.alignment, (source, target), self.root.engine.memory_gb)
        reader = Reader(pairing, self.corpus, self.alignment, self.root.seed, checkpoint, resume)
        try:
            alignment = align(reader, pairing, self.alignment)
        except BaseException:
            if checkpoint.is_file():
                where = os.path.relpath(folder)
                log.warning(
                    "interrupted; to go on: python train_align.py --config-dir %s --config-name config resume_from=%s",
                    where,
                    where,
                )
            raise
        checkpoint.unlink(missing_ok=True)
        report = AlignmentReport(alignment, pairing, self.alignment, self.corpus.title, self.root.seed).report()
        return report, {"source": source.provenance, "target": target.provenance, "seed": self.root.seed}
