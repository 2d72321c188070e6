"""The search path plugin for one's own config groups."""
