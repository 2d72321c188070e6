"""The command line: entry points, multiruns, and errors in one readable line."""
