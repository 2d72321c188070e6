"""What a command does: the life of a run, experiments, alignments, batches of jobs."""
