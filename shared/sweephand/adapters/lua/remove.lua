-- Removes a foreign member, whose bytes may not fit into the JSON that sync_and_claim.lua takes.
--
-- KEYS[1]  ZSET: a lane, or the lanes of a priority
-- ARGV[1]  the member
-- Returns  1 if the ZSET had the member, else 0

return redis.call('ZREM', KEYS[1], ARGV[1])
