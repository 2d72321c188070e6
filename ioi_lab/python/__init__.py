"""The lab from Python: runs, sweeps and alignments as functions, and their results as objects."""

import warnings

# tqdm warns in every notebook without ipywidgets that its bars are made of text.
warnings.filterwarnings("ignore", message="IProgress not found")
