"""Fit maps between two models' residual streams: `python train_align.py model@source=tiny-gpt2 alignment=lowrank`."""

from ioi_lab.cli.main import run_script

if __name__ == "__main__":
    run_script("align")
