"""From TCP segments to byte streams, in order as their receivers got them."""
