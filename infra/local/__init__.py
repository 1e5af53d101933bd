"""The local emulation: every service and every function on a laptop."""
