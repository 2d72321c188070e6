"""Tests of whether a circuit is real: against random circuits, by edge, by prompt, by ablation and by resample."""
