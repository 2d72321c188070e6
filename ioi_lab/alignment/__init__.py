"""Maps between two models' residual streams: where they come from, how they are fitted, and how well they do."""
