"""Language models: their sizes, selectors of their parts, and how they are loaded."""
