"""The `batch` launcher."""
