"""Statistics of readouts: metrics, bootstrap intervals, responses to a scale. Nothing here imports torch."""
