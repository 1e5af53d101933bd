"""Serves the functions on this machine: routes, schedule, handlers' files."""
