"""TCP segments to streams of bytes, put in order as their receivers did."""
