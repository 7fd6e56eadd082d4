"""Faults by message, one a file; the files are found, not listed."""
