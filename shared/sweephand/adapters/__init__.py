"""The ports on real services. Only the composition root imports these."""
