"""A file's packets or messages, put together to sessions and entries."""
