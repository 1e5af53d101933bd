"""Schedules: from the insert of a row to the jobs that it makes."""
