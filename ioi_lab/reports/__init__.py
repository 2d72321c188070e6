"""Tables, figures, pages and sentences about results. Nothing here depends on models."""
