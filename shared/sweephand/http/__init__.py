"""HTTP, for every function: keys, JSON bodies, routes, problems."""
