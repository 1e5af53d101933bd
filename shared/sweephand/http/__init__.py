"""The HTTP edge that every function shares: keys in, JSON in, problems out."""
