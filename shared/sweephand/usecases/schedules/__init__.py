"""What the owners of schedules do with them; what ticks do with them is `usecases/tick/fires.py`."""
