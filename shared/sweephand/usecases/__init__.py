"""What people and ticks ask for, one file a verb, in terms of the ports only."""
