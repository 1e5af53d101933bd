-- When the index will look at one job. Changes nothing.
--
-- KEYS[1]  the ZSET of the job's type and priority: member = job id, score = when to look, ms of Redis' own clock
-- ARGV[1]  the job's id
-- Returns  ms from now, 0 or less when it is due; false where the index does not have it

local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
local time = redis.call('TIME')
return score and math.floor(tonumber(score) - time[1] * 1000 - time[2] / 1000)
