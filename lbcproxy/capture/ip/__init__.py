"""From packets to TCP segments: link layers, tunnels, fragments."""
