"""Tests of whether a circuit is real: `intervention=circuit_tests`."""
