"""The `batch` launcher of Hydra."""
