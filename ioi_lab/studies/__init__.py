"""Studies: how a model does a task, as steps that take what they need from the steps before: `ioi-lab study`."""
