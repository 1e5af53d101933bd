"""Lua scripts, one file each; `shared/adapters/redis_index.py` runs them."""
