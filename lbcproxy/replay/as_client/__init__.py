"""The recorded client, played against a node."""
