"""Lua scripts, one file each: `ports/index.py` calls them, `adapters/redis.py` runs them."""
