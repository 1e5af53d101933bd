"""What every function is made of: the domain, the use cases, the adapters, the handlers."""
