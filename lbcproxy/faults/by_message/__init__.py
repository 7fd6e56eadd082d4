"""Faults that act on messages: each file exports its class as `FAULT`."""
