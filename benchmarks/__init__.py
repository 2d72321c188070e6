"""Speed of the engine against TransformerLens and brute force, side by side in one run."""
