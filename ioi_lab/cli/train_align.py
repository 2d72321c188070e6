"""`ioi-lab align` and `python train_align.py`: fit maps between two models' residual streams."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from ioi_lab.cli.command import run_command, run_hydra_job
from ioi_lab.config import CONFIG_FOLDER


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="train_align")
def main(config: DictConfig) -> None:
    """Align the composed models into Hydra's output folder."""
    from ioi_lab.jobs.alignment import prepare_alignment

    run_hydra_job(prepare_alignment(config))


def run() -> None:
    """Run the command line."""
    run_command(main, config_name="train_align")
