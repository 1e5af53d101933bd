"""The command line, `sweephand`."""
