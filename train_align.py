"""Fit maps between two models' residual streams: `python train_align.py model@source=tiny-gpt2 alignment=lowrank`."""

import hydra
from omegaconf import DictConfig

from ioi_lab.cli import CONFIG_FOLDER, run_command, run_job


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="train_align")
def main(config: DictConfig) -> None:
    """Align the composed models into Hydra's output folder."""
    from ioi_lab.alignment.experiment import AlignmentJob
    from ioi_lab.experiment import run_experiment

    run_job(lambda folder, sweep: run_experiment(config, folder, sweep, AlignmentJob))


if __name__ == "__main__":
    run_command(main, config_name="train_align")
