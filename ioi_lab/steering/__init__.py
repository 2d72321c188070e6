"""Steering vectors: contrasts, the methods that make a vector, and what steering does to ordinary text."""
