-- Updates the index as the record said, then claims due jobs. Atomic; one round trip.
--
-- A lane is one type at one priority. Each lane is a ZSET: member = job id, score = when to look at the job, in ms of
-- Redis' own clock. A claim raises the score by a hold, as SQS's visibility timeout hides a message: other ticks pass
-- over the job until the hold ends.
-- Ten more ZSETs, one for each priority, list the lanes: member = type, score = when to look at the lane. That is the
-- earliest score in the lane. After a turn that left due members behind it is the time of that turn, so that the lane
-- goes to the back of the queue. The script writes this score anew for each lane that it touches: an evicted or
-- foreign entry mends itself.
--
-- KEYS, all of one installation, under one hash tag
--   1      string: the generation, a counter of scheduled ticks
--   2      list: the notification for a tick that waits; at most one
--   3      string: "name until", the active tick and the ms until which it takes what comes due; "left 0" after the
--          last tick has left; "triggered until" before a triggered tick has come
--   4-13   ZSET: the lanes of priority 0 to 9
--   14-    ZSET: the lanes that this call names. Rows below give a lane's number: 1 is KEYS[14]
-- ARGV[1]  JSON object
--   hold        ms that a claim holds a job
--   capacities  for each quota, how many jobs it may claim
--   lanes       for each lane [priority, type, quota, upto]. Quota 0: claim nothing from this lane. With `upto`, in ms
--               from now and negative, claim only what was due by then: the index lacks earlier jobs of this lane
--   remove      rows [lane, id, id, …]: forget these jobs
--   postpone    rows [lane, id, held, ms]: look at the job ms from now, if its score still is `held`
--   release     rows [lane, id, held, score]: give the job its old score back, if its score still is `held`
--   requeue     rows [lane, id, ms]: look at the job ms from now at the latest
--   add         rows [lane, id, ms, id, ms, …]: look at the job ms from now, negative for a late job; never moves a job
--               that the index has
--   far         ms: pull in a job of `add` that is due and stands further away than this. No claim holds for so long
--   dry         true: count what `add` would add, and add nothing
--   begins      true: a scheduled tick begins. Count a new generation, and notify
--   notify      text: put this notification into the list, in place of an older one; false: do not
--   count_due   true: count the jobs that are due and not claimed
--   trigger     [wait, stay]: a caller has a job that is due in `wait` ms. Tell the caller to trigger a tick if no tick
--               will be active then, and count on that tick: for GRACE ms until it comes, to stay for `stay` ms
--   tick        the name of the calling tick. It is active if it claims, `works`, or something comes due in `stay` ms
--   stay        ms that the calling tick would wait
--   works       true: the calling tick runs handlers
-- Returns an array
--   1  added         how many jobs of `add` were new
--   2  claims        rows {lane, held, {id, score, id, score, …}}: jobs with the scores that they had before, and the
--                    score that holds them now. The highest priority comes first, the lanes of one priority in turns,
--                    each lane's oldest job first
--   3  generation    number; 0 before the first scheduled tick, or after a flush
--   4  coming        {priority, type, ms, …}: lanes that come due next; empty if this call claimed anything
--   5  due_count     number; an estimate where more lanes are due than this call named; 0 unless `count_due`
--   6  must_trigger  1: no tick is active, as `trigger` asked
--   7  is_active     1: the calling tick counts as active
--   8  due_lanes     {priority, type, …}: lanes that are due after this call, the longest without a turn first
--   9  grown         the lanes that got a new job
--   10 forgot        1: the index knows nothing of any tick; it may have lost that
--   11 next          ms until a lane with a quota comes due; -1 if none does, or if this call claimed anything
--   12 deleted       keys that held another type of value than said above; the script deleted them first

local request = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(n) return string.format('%.0f', n) end
local LANES, ACTIVE = 13, KEYS[3]
local GRACE = 10000 -- ms after which a silent tick counts as gone; a triggered tick has as long to come
local LOOK = 2000 -- ms within which a tick that works looks at the index again
local LEFT = 120000 -- ms for which the index remembers that the last tick has left
local FAIR = 16 -- jobs that a lane's turn offers at least
local TOLD = 128 -- due lanes returned for each priority, at most
local SOON = 8 -- coming lanes returned for each priority, at most
local function zset(at) return KEYS[LANES + at] end
local function priorities(priority) return KEYS[4 + priority] end

-- First, since a key of another type would end the script half-way.
local deleted = {}
local function read(command, key)
  local answer = redis.pcall(command, key)
  if type(answer) ~= 'table' or not string.find(answer.err or '', 'WRONGTYPE', 1, true) then return answer end
  redis.call('DEL', key)
  deleted[#deleted + 1] = key
  return false
end
local generation, active_text = read('GET', KEYS[1]), read('GET', ACTIVE)
read('LLEN', KEYS[2])
for at = 4, #KEYS do read('ZCARD', KEYS[at]) end

local touched, order = {}, {}
local function touch(at)
  if not touched[at] then touched[at] = true; order[#order + 1] = at end
end
-- Writes when to look at a lane; `served`: it has just had its turn.
local function look_at(at, served)
  local lane = request.lanes[at]
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

-- In pieces: Lua's unpack takes some thousands of values at most.
for _, row in ipairs(request.remove) do
  touch(row[1])
  for first = 2, #row, 2000 do
    redis.call('ZREM', zset(row[1]), unpack(row, first, math.min(first + 1999, #row)))
  end
end

-- Tells whether the claim is still the caller's: another claim would have changed the score.
local function mine(row)
  local score = redis.call('ZSCORE', zset(row[1]), row[2])
  return score and tonumber(score) == row[3]
end
for _, row in ipairs(request.postpone) do
  touch(row[1])
  if mine(row) then redis.call('ZADD', zset(row[1]), 'XX', text(now + row[4]), row[2]) end
end
for _, row in ipairs(request.release) do
  touch(row[1])
  if mine(row) then redis.call('ZADD', zset(row[1]), 'XX', text(row[4]), row[2]) end
end

for _, row in ipairs(request.requeue) do
  touch(row[1])
  local at, score = now + row[3], redis.call('ZSCORE', zset(row[1]), row[2])
  if not score or tonumber(score) > at then redis.call('ZADD', zset(row[1]), text(at), row[2]) end
end

local added, grown = 0, {}
for _, row in ipairs(request.add) do
  local key, new = zset(row[1]), 0
  for first = 2, #row, 2000 do
    local last = math.min(first + 1999, #row)
    if request.dry then
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
      if request.far and fresh < #values / 2 then
        for i = first, last, 2 do
          local score = row[i + 1] <= 0 and redis.call('ZSCORE', key, row[i])
          if score and tonumber(score) > now + request.far then
            redis.call('ZADD', key, 'XX', text(now + row[i + 1]), row[i])
          end
        end
      end
    end
  end
  if not request.dry then touch(row[1]) end
  if new > 0 then grown[#grown + 1] = row[1]; added = added + new end
end
for _, at in ipairs(order) do look_at(at, false) end

-- Finds the named lanes that are due: the highest priority first, then the longest without a turn.
local ready, wait = {}, -1
for at, lane in ipairs(request.lanes) do
  if lane[3] > 0 and (request.capacities[lane[3]] or 0) > 0 then
    local turn = redis.call('ZSCORE', priorities(lane[1]), lane[2])
    if not turn and not touched[at] then  -- evicted, or an empty lane
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
local held = text(now + request.hold)
-- Claims at most `most` jobs of a lane; tells whether the lane may have more.
local function take(at, quota, most)
  local lane, key = request.lanes[at], zset(at)
  local upto = now
  if type(lane[4]) == 'number' and lane[4] < 0 then upto = now + lane[4] end
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', text(upto), 'WITHSCORES', 'LIMIT', 0, most)
  if #due == 0 then return false end
  request.capacities[quota] = request.capacities[quota] - #due / 2
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
  for quota, count in pairs(lanes) do share[quota] = math.max(FAIR, math.floor(request.capacities[quota] / count)) end
  for i = first, last - 1 do
    local at, quota = ready[i][1], ready[i][4]
    local most = math.min(share[quota], request.capacities[quota])
    if most > 0 and take(at, quota, most) then full[#full + 1] = { at, quota } end
  end
  for _, lane in ipairs(full) do  -- share what other lanes did not use
    if request.capacities[lane[2]] > 0 then take(lane[1], lane[2], request.capacities[lane[2]]) end
  end
  first = last
end
for _, claim in ipairs(claims) do look_at(claim[1], true) end
for _, lane in ipairs(ready) do
  if not by_key[lane[1]] then look_at(lane[1], false) end  -- its place was stale: nothing in it is due
end

local due_lanes, coming, due_count = {}, {}, 0
if #request.capacities > 0 then
  local seen, named = 0, 0
  for priority = 9, 0, -1 do
    local key = priorities(priority)
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, TOLD)
    for _, type in ipairs(due) do
      due_lanes[#due_lanes + 1] = priority
      due_lanes[#due_lanes + 1] = type
    end
    if request.count_due then seen = seen + redis.call('ZCOUNT', key, '-inf', text(now)) end
    if #claims == 0 then
      local soon = redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, SOON)
      for i = 1, #soon, 2 do
        coming[#coming + 1] = priority
        coming[#coming + 1] = soon[i]
        coming[#coming + 1] = math.ceil(math.min(tonumber(soon[i + 1]) - now, 1e12))
      end
    end
  end
  if request.count_due then
    for at, lane in ipairs(request.lanes) do
      if lane[3] > 0 then
        local left = redis.call('ZCOUNT', zset(at), '-inf', text(now))
        due_count = due_count + left
        if left > 0 then named = named + 1 end
      end
    end
    if named > 0 and seen > named then due_count = math.floor(due_count * seen / named) end
  end
end

if request.begins then generation = redis.call('INCR', KEYS[1]) end
if request.begins or request.notify then
  redis.call('LPUSH', KEYS[2], request.notify or '')
  redis.call('LTRIM', KEYS[2], 0, 0)
  redis.call('PEXPIRE', KEYS[2], 5000)
end
if #claims > 0 then wait = -1 end

local must_trigger, is_active, forgot = 0, 0, 0
local owner, until_ms = string.match(active_text or '', '^(%S+) (%d+)$')
if not owner then forgot = 1 end
if owner == 'left' then owner = nil end
if request.trigger and (not owner or now + request.trigger[1] > tonumber(until_ms)) then
  redis.call('SET', ACTIVE, 'triggered ' .. text(now + request.trigger[2]), 'PX', GRACE)
  must_trigger = 1
elseif request.tick then
  local working = #claims > 0 or request.works
  local stays = now + math.max(request.stay, working and LOOK or 0)
  local mine = not owner or owner == 'triggered' or owner == request.tick
  if working or (wait >= 0 and wait <= request.stay) then
    if mine or stays > tonumber(until_ms) then
      redis.call('SET', ACTIVE, request.tick .. ' ' .. text(stays), 'PX', GRACE + (working and 0 or wait))
      is_active = 1
    end
  elseif mine and (owner or request.stay > 0) then
    redis.call('SET', ACTIVE, 'left 0', 'PX', LEFT)
  end
end
return {
  added, claims, tonumber(generation) or 0, coming, due_count, must_trigger, is_active, due_lanes, grown, forgot,
  math.ceil(wait), deleted,
}
