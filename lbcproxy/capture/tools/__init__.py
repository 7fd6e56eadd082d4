"""What is done with whole captures: told of, converted, cut, merged, anonymised, repaired."""
