"""The dashboard: runs of a folder as a local web page. It reads, and writes nothing into the folder."""
