"""Programs that lbcproxy is held against, as far as we have to write them ourselves."""
