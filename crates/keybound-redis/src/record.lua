-- Records used proofs: one atomic step for all of them, as long as this server is what the node believes it to be.
--
-- KEYS: the lane, a sorted set; then for each proof the tally of its client's key.
-- ARGV: the marker of the epoch, the line of this life of the server in INFO, the time of the node and how far clocks may be apart
--       (ms), the quota of a client's key; then for each proof its record and how long to keep it (ms).
-- Answers a list: {1} this is not that server, or it may have forgotten; {2, ms} the clocks are too far apart; or 0, and for each
--       proof 0 never seen, 1 seen before, 2 no room, or 10 and the seconds until its client has room again.
--
-- Members of a lane are the records, each by the time when it goes, the marker, and 'w' by the time when records last went. They
-- are one key, so that whatever takes records away takes the marker away too: a clock, an eviction, a slot that moves. Nothing but
-- this script takes one by itself, and only while a clock of a node says that it is time.
local lane, allowed, quota = KEYS[1], tonumber(ARGV[4]), tonumber(ARGV[5])

local scores = redis.call('ZMSCORE', lane, ARGV[1], 'w')
if not scores[1] then return {1} end
if not string.find(redis.call('INFO', 'replication'), ARGV[2], 1, true) then return {1} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local apart = now - tonumber(ARGV[3])
if math.abs(apart) > allowed then return {2, apart} end
-- Records went by a clock that was ahead. Up to `allowed` they went late enough for any clock that is as near to ours as now.
if scores[2] and now < scores[2] - allowed then return {1} end

-- A tally counts the live proofs of one key by the half minute in which they go: pairs of its number and the count, 4 octets each.
local GRAIN, MOST_PAIRS = 30000, 32

-- Adds one that goes at `gone`. Says in how many seconds there is room, if there is none.
local function count(tally, gone)
  local packed = redis.call('GET', tally) or ''
  local mine, total, first, last, mine_at = math.ceil(gone / GRAIN), 0, nil, nil, nil
  local pairs_left = {}
  for at = 1, #packed - 7, 8 do
    local grain, proofs = struct.unpack('>I4I4', packed, at)
    if grain * GRAIN > now then
      total = total + proofs
      pairs_left[#pairs_left + 1] = {grain, proofs}
      if grain == mine then mine_at = #pairs_left end
      if not first or grain < first then first = grain end
      if not last or grain > pairs_left[last][1] then last = #pairs_left end
    end
  end
  if total >= quota then return math.ceil((first * GRAIN - now) / 1000) end
  if not mine_at and #pairs_left >= MOST_PAIRS then
    -- Rather counted too long than not at all.
    mine_at = last
    pairs_left[last][1] = math.max(pairs_left[last][1], mine)
  end
  if mine_at then
    pairs_left[mine_at][2] = pairs_left[mine_at][2] + 1
  else
    pairs_left[#pairs_left + 1] = {mine, 1}
  end
  local longest = mine
  for at, pair in ipairs(pairs_left) do
    longest = math.max(longest, pair[1])
    pairs_left[at] = struct.pack('>I4I4', pair[1], pair[2])
  end
  redis.call('SET', tally, table.concat(pairs_left), 'PX', longest * GRAIN - now)
end

local answers, longest = {0}, 0
for proof = 1, #KEYS - 1 do
  local tally, record, keep = KEYS[1 + proof], ARGV[4 + 2 * proof], tonumber(ARGV[5 + 2 * proof])
  -- Before any other write: a server that is full refuses the first write of a script alone.
  local added = redis.pcall('ZADD', lane, 'NX', now + keep, record)
  local answer
  if added == 0 then
    answer = 1
  elseif added ~= 1 then
    if not string.find(added.err, 'OOM', 1, true) then return added end
    answer = redis.call('ZSCORE', lane, record) and 1 or 2
  else
    local wait = count(tally, now + keep)
    if wait then
      redis.call('ZREM', lane, record)
      answer = 10 + wait
    else
      answer = 0
      longest = math.max(longest, keep)
    end
  end
  answers[1 + proof] = answer
end

-- The latest time is noted with what goes. It goes `allowed` later than it could, so that a clock may be set back by a little.
local gone = redis.call('ZCOUNT', lane, '-inf', now - allowed)
if gone > 0 then
  -- A server answers nobody else meanwhile: a thousand take a third of a millisecond.
  local most = #KEYS == 1 and 10000 or 1000
  redis.call('ZREMRANGEBYRANK', lane, 0, math.min(gone, most) - 1)
  redis.call('ZADD', lane, math.max(now, tonumber(scores[2]) or 0), 'w')
end
-- A lane that nobody looks after any more goes as a whole. With no proofs this is the write that shows that one is possible.
local HOUR = 3600000
local left = redis.call('PTTL', lane)
if #KEYS == 1 or left < longest + HOUR / 2 then
  redis.call('PEXPIRE', lane, math.max(left, longest + HOUR))
end
return answers
