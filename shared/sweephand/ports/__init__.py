"""What the use cases ask of the world, as protocols: one file a port."""
