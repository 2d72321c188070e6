"""Results → tables, figures, pages and sentences. Nothing here knows of models."""
