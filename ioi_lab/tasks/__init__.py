"""Tasks: prompt pairs for a model's tokenizer. A new task is one file here and one YAML in `conf/task/`."""
