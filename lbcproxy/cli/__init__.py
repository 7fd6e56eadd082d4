"""The command line: one file a command, and how things look in a terminal."""
