"""Circuits of edges: how they are found, and how faithful they are."""
