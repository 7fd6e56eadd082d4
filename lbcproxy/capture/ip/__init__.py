"""Packets to TCP segments: link layers, tunnels, fragments."""
