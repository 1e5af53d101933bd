"""The built-in handlers, and what loads them and a deployment's own."""
