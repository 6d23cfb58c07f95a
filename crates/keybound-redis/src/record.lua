-- Records used proofs: one atomic step for all of them, as long as this server is what the node believes it to be.
--
-- KEYS: the marker of the epoch; then for each proof its record and the tally of its client's key.
-- ARGV: the marker, the line of this life of the server in INFO, the time of the node and how far clocks may be apart (ms), the
--       quota of a client's key; then for each proof how long to keep it (ms).
-- Answers a list: {1} this is not that server, or it has forgotten; {2, ms} the clocks are too far apart; or 0, and for each proof
--       0 never seen, 1 seen before, 2 no room, or 10 and the seconds until its client has room again.
local quota = tonumber(ARGV[5])

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {1} end
if not string.find(redis.call('INFO', 'replication'), ARGV[2], 1, true) then return {1} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local apart = now - tonumber(ARGV[3])
if math.abs(apart) > tonumber(ARGV[4]) then return {2, apart} end

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

local answers = {0}
for proof = 1, (#KEYS - 1) / 2 do
  local record, tally, keep = KEYS[2 * proof], KEYS[2 * proof + 1], ARGV[5 + proof]
  local set = redis.pcall('SET', record, '1', 'PX', keep, 'NX')
  local answer
  if not set then
    answer = 1
  elseif set.err then
    if not string.find(set.err, 'OOM', 1, true) then return set end
    answer = redis.call('EXISTS', record) == 1 and 1 or 2
  else
    local wait = count(tally, now + keep)
    if wait then
      redis.call('DEL', record)
      answer = 10 + wait
    else
      answer = 0
    end
  end
  answers[1 + proof] = answer
end
return answers
