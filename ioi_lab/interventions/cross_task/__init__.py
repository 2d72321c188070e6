"""Circuits of several tasks, each evaluated on every task."""
