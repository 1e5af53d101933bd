"""One tick: restore → drain → report."""
