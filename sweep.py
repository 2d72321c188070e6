"""Run one experiment, or with `-m` a grid of them: `python sweep.py model=tiny-pythia intervention.direction=noise`."""

import hydra
from omegaconf import DictConfig

from ioi_lab.cli import CONFIG_FOLDER, run_command, run_job


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="sweep")
def main(config: DictConfig) -> float | None:
    """Run the composed experiment into Hydra's output folder."""
    from ioi_lab.experiment import run_experiment

    return run_job(lambda folder, sweep: run_experiment(config, folder, sweep), config.get("optimize"))


if __name__ == "__main__":
    run_command(main, config_name="sweep")
