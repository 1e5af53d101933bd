"""What provisions Sweephand: migrations, AWS, Google Cloud, and the local emulation."""
