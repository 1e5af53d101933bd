-- One step of the index: follow what the record said, then claim what is due. Atomic, one round trip.
--
-- A lane is one type at one priority: a ZSET of its jobs, member = job id, score = when to look, ms of Redis' own clock.
-- Beside the lanes stand ten ZSETs, one for each priority, member = type, score = when to look at that lane: its
-- earliest score; or, after a turn that left it with due members, the time of that turn, so that it goes to the back.
-- Whatever a step touches gets its score there anew, so that what was evicted or is foreign mends itself.
--
-- KEYS     the generation's counter, the list of kicks, which tick is awake, the ten of priorities 0 to 9, then lanes;
--          all of one installation, under one hash tag
-- ARGV[1]  JSON: {hold, rooms, lanes, remove, wait, back, add, again, far, dry, enter, kick, count, wake, tick, stay, busy};
--          keys count from the first lane
--   hold    ms that a claim holds a member
--   rooms   how many members each pool of the caller may claim
--   lanes   [priority, type, pool, upto] of each key: pool 0 is not claimed from; of a lane with `upto`, in ms from
--           now, nothing is claimed that is due later: the caller knows that earlier ones are not in the index yet
--   remove  [key, id, id, …]: forget the members
--   wait    [key, id, held score, ms]: look again ms from now, if the claim is still the caller's
--   back    [key, id, held score, old score]: undo the claim, if it is still the caller's
--   add     [key, id, ms, id, ms, …]: look ms from now, negative for what is late; a member that is there stays as it is
--   far     of `add`, pull in what is due and stands further away than so many ms: no claim holds for so long
--   again   [key, id, ms]: look ms from now at the latest
--   dry     count what `add` would add, and leave it out
--   enter   a scheduled tick begins: count a new generation, and kick
--   kick    wake one that waits, with this text; the list never holds more than one kick
--   count   count what is due and was not claimed
--   wake    [wait, stay]: tell whether no tick will be awake in `wait` ms; then the one that the caller calls is
--           counted on, for `stay` ms once it has come
--   tick    the caller's name, where it is a tick: it is awake when it claims, is `busy`, or when something comes due
--           within `stay` ms, and says for how long; else it is not, unless another is
-- Returns  {added, claims, generation, coming, due, asleep, awake, more, grown, lost, wait}
--   added   how many of `add` were new; grown: the keys that got any
--   claims  for each key with claims {key, score that holds them, {id, old score, id, old score, …}}: the highest priority
--           first, the lanes of one priority in turns, each its oldest first
--   coming  {priority, type, ms, …}: lanes that come due next, when there were no claims; wait: ms until the first of the
--           named ones does, or -1
--   due     the count, or 0: where there are more lanes than were named, as if all were like those
--   more    {priority, type, …}: lanes that are due after this step, those that have waited longest first
--   asleep  1 where no tick was awake, as `wake` asked; lost: 1 where nothing at all was known of it
--   awake   1 where the calling tick counts as awake

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(n) return string.format('%.0f', n) end
local LANES, AWAKE = 13, KEYS[3]
local GRACE = 10000 -- ms after which a tick that said no more is not counted on
local LOOK = 2000 -- ms within which a tick at work looks again for what is due
local LEFT = 120000 -- ms for which it is known that the last tick has left
local FAIR = 16 -- members that a lane's turn has at least
local TOLD = 128 -- due lanes that are told of each priority
local SOON = 8 -- coming lanes that are told of each priority
local function zset(at) return KEYS[LANES + at] end
local function priorities(priority) return KEYS[4 + priority] end

-- First, as a key that holds something else ends the script here, before it has changed anything.
local generation, awake_text = redis.call('GET', KEYS[1]), redis.call('GET', AWAKE)
redis.call('LLEN', KEYS[2])
for at = 4, #KEYS do redis.call('ZCARD', KEYS[at]) end

local touched, order = {}, {}
local function touch(at)
  if not touched[at] then touched[at] = true; order[#order + 1] = at end
end
-- Writes when to look at a lane.
local function look_at(at, served)
  local lane = ask.lanes[at]
  local key, type = priorities(lane[1]), lane[2]
  local first = redis.call('ZRANGE', zset(at), 0, 0, 'WITHSCORES')[2]
  if not first then redis.call('ZREM', key, type); return end
  if tonumber(first) <= now then
    if served then first = text(now)
    else
      local turn = redis.call('ZSCORE', key, type)
      if turn and tonumber(turn) <= now then return end
    end
  end
  redis.call('ZADD', key, first, type)
end

-- Lua's unpack takes some thousands of values at most.
for _, row in ipairs(ask.remove) do
  touch(row[1])
  for first = 2, #row, 2000 do
    redis.call('ZREM', zset(row[1]), unpack(row, first, math.min(first + 1999, #row)))
  end
end

local function mine(row)
  local score = redis.call('ZSCORE', zset(row[1]), row[2])
  return score and tonumber(score) == row[3]
end
for _, row in ipairs(ask.wait) do
  touch(row[1])
  if mine(row) then redis.call('ZADD', zset(row[1]), 'XX', text(now + row[4]), row[2]) end
end
for _, row in ipairs(ask.back) do
  touch(row[1])
  if mine(row) then redis.call('ZADD', zset(row[1]), 'XX', text(row[4]), row[2]) end
end

for _, row in ipairs(ask.again) do
  touch(row[1])
  local at, score = now + row[3], redis.call('ZSCORE', zset(row[1]), row[2])
  if not score or tonumber(score) > at then redis.call('ZADD', zset(row[1]), text(at), row[2]) end
end

local added, grown = 0, {}
for _, row in ipairs(ask.add) do
  local key, new = zset(row[1]), 0
  for first = 2, #row, 2000 do
    local last = math.min(first + 1999, #row)
    if ask.dry then
      for i = first, last, 2 do
        if not redis.call('ZSCORE', key, row[i]) then new = new + 1 end
      end
    else
      local values = {}
      for i = first, last, 2 do
        values[#values + 1] = text(now + row[i + 1])
        values[#values + 1] = row[i]
      end
      local fresh = redis.call('ZADD', key, 'NX', unpack(values))
      new = new + fresh
      if ask.far and fresh < #values / 2 then
        for i = first, last, 2 do
          local score = row[i + 1] <= 0 and redis.call('ZSCORE', key, row[i])
          if score and tonumber(score) > now + ask.far then
            redis.call('ZADD', key, 'XX', text(now + row[i + 1]), row[i])
          end
        end
      end
    end
  end
  if not ask.dry then touch(row[1]) end
  if new > 0 then grown[#grown + 1] = row[1]; added = added + new end
end
for _, at in ipairs(order) do look_at(at, false) end

-- Which of the named lanes are due, by priority and, within one, by how long they have waited for a turn.
local ready, wait = {}, -1
for at, lane in ipairs(ask.lanes) do
  if lane[3] > 0 and (ask.rooms[lane[3]] or 0) > 0 then
    local turn = redis.call('ZSCORE', priorities(lane[1]), lane[2])
    if not turn and not touched[at] then  -- evicted, or nothing there
      look_at(at, false)
      turn = redis.call('ZSCORE', priorities(lane[1]), lane[2])
    end
    if turn and tonumber(turn) <= now then
      ready[#ready + 1] = { at, lane[1], tonumber(turn), lane[3] }
    elseif turn and (wait < 0 or tonumber(turn) - now < wait) then
      wait = math.min(tonumber(turn) - now, 1e12)
    end
  end
end
table.sort(ready, function(a, b)
  if a[2] ~= b[2] then return a[2] > b[2] end
  if a[3] ~= b[3] then return a[3] < b[3] end
  return a[1] < b[1]
end)

local claims, by_key = {}, {}
local held = text(now + ask.hold)
-- Takes at most `most` from a lane; tells whether there may be more.
local function take(at, pool, most)
  local lane, key = ask.lanes[at], zset(at)
  local upto = now
  if type(lane[4]) == 'number' and lane[4] < 0 then upto = now + lane[4] end
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', text(upto), 'WITHSCORES', 'LIMIT', 0, most)
  if #due == 0 then return false end
  ask.rooms[pool] = ask.rooms[pool] - #due / 2
  for first = 1, #due, 2000 do
    local holds = {}
    for i = first, math.min(first + 1999, #due), 2 do
      holds[#holds + 1] = held
      holds[#holds + 1] = due[i]
    end
    redis.call('ZADD', key, 'XX', unpack(holds))
  end
  local claim = by_key[at]
  if claim then
    for i = 1, #due do claim[3][#claim[3] + 1] = due[i] end
  else
    claim = { at, held, due }
    by_key[at] = claim
    claims[#claims + 1] = claim
  end
  return #due / 2 == most
end
local first = 1
while first <= #ready do
  local last, lanes = first, {}
  while last <= #ready and ready[last][2] == ready[first][2] do
    lanes[ready[last][4]] = (lanes[ready[last][4]] or 0) + 1
    last = last + 1
  end
  local share, full = {}, {}
  for pool, count in pairs(lanes) do share[pool] = math.max(FAIR, math.floor(ask.rooms[pool] / count)) end
  for i = first, last - 1 do
    local at, pool = ready[i][1], ready[i][4]
    local room = math.min(share[pool], ask.rooms[pool])
    if room > 0 and take(at, pool, room) then full[#full + 1] = { at, pool } end
  end
  for _, lane in ipairs(full) do  -- what the others did not use
    if ask.rooms[lane[2]] > 0 then take(lane[1], lane[2], ask.rooms[lane[2]]) end
  end
  first = last
end
for _, claim in ipairs(claims) do look_at(claim[1], true) end
for _, lane in ipairs(ready) do
  if not by_key[lane[1]] then look_at(lane[1], false) end  -- it was said to be due, and is not
end

local more, coming, due_left = {}, {}, 0
if #ask.rooms > 0 then
  local seen, named = 0, 0
  for priority = 9, 0, -1 do
    local key = priorities(priority)
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, TOLD)
    for _, type in ipairs(due) do
      more[#more + 1] = priority
      more[#more + 1] = type
    end
    if ask.count then seen = seen + redis.call('ZCOUNT', key, '-inf', text(now)) end
    if #claims == 0 then
      local soon = redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, SOON)
      for i = 1, #soon, 2 do
        coming[#coming + 1] = priority
        coming[#coming + 1] = soon[i]
        coming[#coming + 1] = math.ceil(math.min(tonumber(soon[i + 1]) - now, 1e12))
      end
    end
  end
  if ask.count then
    for at, lane in ipairs(ask.lanes) do
      if lane[3] > 0 then
        local left = redis.call('ZCOUNT', zset(at), '-inf', text(now))
        due_left = due_left + left
        if left > 0 then named = named + 1 end
      end
    end
    if named > 0 and seen > named then due_left = math.floor(due_left * seen / named) end
  end
end

if ask.enter then generation = redis.call('INCR', KEYS[1]) end
if ask.enter or ask.kick then
  redis.call('LPUSH', KEYS[2], ask.kick or '')
  redis.call('LTRIM', KEYS[2], 0, 0)
  redis.call('PEXPIRE', KEYS[2], 5000)
end
if #claims > 0 then wait = -1 end

-- "name until": who is awake, and the moment until which it takes what comes due; "left 0" where the last has left.
local asleep, awake, lost = 0, 0, 0
local owner, until_ms = string.match(awake_text or '', '^(%S+) (%d+)$')
if not owner then lost = 1 end
if owner == 'left' then owner = nil end
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
  elseif mine and (owner or ask.stay > 0) then
    redis.call('SET', AWAKE, 'left 0', 'PX', LEFT)
  end
end
return { added, claims, tonumber(generation) or 0, coming, due_left, asleep, awake, more, grown, lost, math.ceil(wait) }
