"""The source of stored configs for Hydra."""
