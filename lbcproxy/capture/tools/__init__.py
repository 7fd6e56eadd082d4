"""Tools for whole captures: summarise, convert, cut, merge, anonymise, repair."""
