"""What provisions Minutehand: migrations, AWS, Google Cloud, and the local emulation."""
