"""Replays the recorded client against a node."""
