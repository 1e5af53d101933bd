-- Tells when the index looks at one job. Changes nothing.
--
-- KEYS[1]  ZSET: a lane; member = job id, score = when to look at the job, in ms of Redis' own clock
-- ARGV[1]  the job's id
-- Returns  ms until that time, 0 or less if the job is due; false if the lane lacks the job

local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
local time = redis.call('TIME')
return score and math.floor(tonumber(score) - time[1] * 1000 - time[2] / 1000)
