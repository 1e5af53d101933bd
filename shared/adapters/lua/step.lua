-- One step of the index: follow what the record said, then claim what is due. Atomic, one round trip.
--
-- KEYS     the generation's counter, the list of kicks, which tick is awake, then the ZSETs, in the
--          order to claim from; all of one installation, under one hash tag.
--          ZSET: member = job id, score = when to look, ms of Redis' own clock
-- ARGV[1]  JSON: {hold, room, lane, remove, wait, back, add, again, dry, enter, kick, count, wake, tick, stay, busy};
--          keys count from the first ZSET
--   hold    ms that a claim holds a member
--   room    how many members each lane may claim
--   lane    the lane of each key that may be claimed from, by position; 0: do not claim from it
--   remove  [key, id, id, …]: forget the members
--   wait    [key, id, held score, ms]: look again ms from now, if the claim is still the caller's
--   back    [key, id, held score, old score]: undo the claim, if it is still the caller's
--   add     [key, id, ms]: look ms from now; a member that is there stays as it is
--   again   [key, id, ms]: look ms from now at the latest
--   dry     count what `add` would add, and leave it out
--   enter   a scheduled tick begins: count a new generation, and kick
--   kick    wake one that waits; the list never holds more than one kick
--   count   count what is due and was not claimed
--   wake    [wait, stay]: tell whether no tick will be awake in `wait` ms; then the one that the caller calls is
--           counted on, for `stay` ms once it has come
--   tick    the caller's name, where it is a tick: it is awake when it claims, is `busy`, or when something comes due
--           within `stay` ms, and says for how long; else it is not, unless another is
-- Returns  {added, claims, generation, next, due, asleep, awake}: how many of `add` were new; for each key with claims
--          {key, score that holds them, {id, old score, id, old score, …}}; the latest generation; ms until the
--          earliest member that a lane could claim, or -1, when there were no claims; the count, or 0; 1 where
--          no tick was awake, as `wake` asked; 1 where the calling tick counts as awake

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(n) return string.format('%.0f', n) end
local ZSETS, AWAKE = 3, KEYS[3]
local GRACE = 10000 -- ms after which a tick that said no more is not counted on
local LOOK = 2000 -- ms within which a tick at work looks again for what is due
local function zset(at) return KEYS[ZSETS + at] end

-- Members by key, so that each key gets few commands; Lua's unpack takes some thousands of values at most.
local function each_chunk(rows, values_of, act)
  local of = {}
  for _, row in ipairs(rows) do
    local values = of[row[1]]
    if not values then values = {}; of[row[1]] = values end
    values_of(row, values)
    if #values >= 2000 then act(zset(row[1]), values); of[row[1]] = {} end
  end
  for key, values in pairs(of) do
    if #values > 0 then act(zset(key), values) end
  end
end

for _, row in ipairs(ask.remove) do
  for first = 2, #row, 2000 do
    redis.call('ZREM', zset(row[1]), unpack(row, first, math.min(first + 1999, #row)))
  end
end

local function mine(row)
  local score = redis.call('ZSCORE', zset(row[1]), row[2])
  return score and tonumber(score) == row[3]
end
for _, row in ipairs(ask.wait) do
  if mine(row) then redis.call('ZADD', zset(row[1]), 'XX', text(now + row[4]), row[2]) end
end
for _, row in ipairs(ask.back) do
  if mine(row) then redis.call('ZADD', zset(row[1]), 'XX', text(row[4]), row[2]) end
end

for _, row in ipairs(ask.again) do
  local at, score = now + row[3], redis.call('ZSCORE', zset(row[1]), row[2])
  if not score or tonumber(score) > at then redis.call('ZADD', zset(row[1]), text(at), row[2]) end
end

local added = 0
if ask.dry then
  for _, row in ipairs(ask.add) do
    if not redis.call('ZSCORE', zset(row[1]), row[2]) then added = added + 1 end
  end
else
  each_chunk(ask.add,
    function(row, values) values[#values + 1] = text(now + row[3]); values[#values + 1] = row[2] end,
    function(key, values) added = added + redis.call('ZADD', key, 'NX', unpack(values)) end)
end

local claims, due_left, next_at = {}, 0, nil
local held = text(now + ask.hold)
for at = 1, #KEYS - ZSETS do
  local key, lane = zset(at), ask.lane[at] or 0
  local room = lane > 0 and ask.room[lane] or 0
  local first = room > 0 and redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first and tonumber(first) > now then
    if not next_at or tonumber(first) < next_at then next_at = tonumber(first) end
  elseif first then
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, room)
    ask.room[lane] = room - #due / 2
    local holds = {}
    for i = 1, #due, 2 do
      holds[#holds + 1] = held
      holds[#holds + 1] = due[i]
      if #holds >= 2000 then redis.call('ZADD', key, 'XX', unpack(holds)); holds = {} end
    end
    if #holds > 0 then redis.call('ZADD', key, 'XX', unpack(holds)) end
    claims[#claims + 1] = { at, held, due }
  end
  if ask.count and lane > 0 then due_left = due_left + redis.call('ZCOUNT', key, '-inf', text(now)) end
end

local generation
if ask.enter then generation = redis.call('INCR', KEYS[1]) else generation = redis.call('GET', KEYS[1]) end
if ask.enter or ask.kick then
  redis.call('LPUSH', KEYS[2], '1')
  redis.call('LTRIM', KEYS[2], 0, 0)
  redis.call('PEXPIRE', KEYS[2], 5000)
end
local wait = -1
if #claims == 0 and next_at then wait = math.max(0, next_at - now) end

-- "name until": who is awake, and the moment until which it takes what comes due.
local asleep, awake = 0, 0
local owner, until_ms = string.match(redis.call('GET', AWAKE) or '', '^(%S+) (%d+)$')
if ask.wake and (not owner or now + ask.wake[1] > tonumber(until_ms)) then
  redis.call('SET', AWAKE, 'called ' .. text(now + ask.wake[2]), 'PX', GRACE)
  asleep = 1
elseif ask.tick then
  local working = #claims > 0 or ask.busy
  local stays = now + math.max(ask.stay, working and LOOK or 0)
  local mine = not owner or owner == 'called' or owner == ask.tick
  if working or (wait >= 0 and wait <= ask.stay) then
    if mine or stays > tonumber(until_ms) then
      redis.call('SET', AWAKE, ask.tick .. ' ' .. text(stays), 'PX', GRACE + (working and 0 or wait))
      awake = 1
    end
  elseif owner and mine then
    redis.call('DEL', AWAKE)
  end
end
return { added, claims, tonumber(generation) or 0, wait, due_left, asleep, awake }
