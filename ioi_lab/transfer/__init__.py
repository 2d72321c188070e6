"""Carrying steering vectors and heads from one model to another."""
