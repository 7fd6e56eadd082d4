"""Events to bytes: one file a format."""
