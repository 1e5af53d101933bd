"""The scheduler's rules, pure: no clock, no randomness, no network, no environment."""
