"""Interventions: each plans edits and reports what they did. A new one is one file here and one YAML in `conf/`."""
