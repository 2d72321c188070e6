"""Reports as one self-contained HTML file, which loads nothing and sends nothing."""
