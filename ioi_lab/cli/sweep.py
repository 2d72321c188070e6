"""`ioi-lab sweep` and `python sweep.py`: run one experiment, or with `-m` a grid of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from ioi_lab.cli.command import run_command, run_hydra_job
from ioi_lab.config import CONFIG_FOLDER

if TYPE_CHECKING:
    from ioi_lab.jobs.job import PreparedJob


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="sweep")
def main(config: DictConfig, prepared: PreparedJob | None = None) -> float | None:
    """Run the composed experiment into Hydra's output folder; the batch launcher passes one that it has measured."""
    from ioi_lab.jobs.experiment import prepare_experiment

    return run_hydra_job(prepared or prepare_experiment(config), config.get("optimize"))


def run() -> None:
    """Run the command line."""
    run_command(main, config_name="sweep")
