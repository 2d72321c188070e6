"""Causal experiments on language models, centred on indirect object identification (IOI)."""

__version__ = "0.1.0"
