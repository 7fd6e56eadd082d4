"""Two conversations held against each other, by what is said."""
