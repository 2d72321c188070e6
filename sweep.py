"""Run one experiment, or with `-m` a grid of them: `python sweep.py model=tiny-pythia intervention.direction=noise`."""

from ioi_lab.cli.main import run_script

if __name__ == "__main__":
    run_script("sweep")
