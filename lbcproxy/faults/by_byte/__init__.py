"""Faults that act on bytes, whatever they mean: each file exports its class as `FAULT`."""
