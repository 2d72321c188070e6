"""Whether the model does the task, before anything is edited: `intervention=baseline`."""
