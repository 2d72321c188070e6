"""Attention patterns: `intervention=attention`."""
