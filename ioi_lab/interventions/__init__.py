"""Interventions: each is a config that measures and reports. What `intervention=` can name."""
