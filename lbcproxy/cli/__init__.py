"""The command line: one module for each command, and how messages are printed on a terminal."""
