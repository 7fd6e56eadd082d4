"""The recorded node, for whoever connects."""
