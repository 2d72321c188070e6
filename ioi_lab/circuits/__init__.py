"""Circuits: sets of heads at positions, and what they do with everything else knocked out."""
