"""Sessions into files as they happen: names, rotation, rings, retention."""
