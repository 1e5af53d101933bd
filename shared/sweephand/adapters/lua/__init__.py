"""Lua scripts, one file each; `shared/sweephand/adapters/redis.py` runs them."""
