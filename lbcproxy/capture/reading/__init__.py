"""From the packets or messages of a file to sessions and entries."""
