"""Records sessions to files as they happen: file names, rotation, rings, retention."""
