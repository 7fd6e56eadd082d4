"""Faults that act on bytes, whatever they mean: one a file, with its class as `KIND`."""
