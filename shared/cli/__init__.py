"""The command line, `minutehand`."""
