-- Takes the epoch's marker in this lane, or makes one if what is there is of another life of the server, or tells of a clock that has
-- been elsewhere.
--
-- KEYS: the lane, whose members record.lua describes.
-- ARGV: the line of this life of the server in INFO, 16 octets of it, 8 random octets, the time of the node and how far clocks may
--       be apart (ms), the age limit of proofs and the life of nonces (s), a marker that counts no more, or '', and 1 if none
--       counts, or 0.
-- Answers {1} if this is not that server, {2, ms} if clocks are too far apart, or {0, the marker}.
--
-- A marker is 41 octets: 1, the random octets, since when (s, 8 octets), the two spans (4 octets each), the life.
local lane, life, allowed, age, lifetime = KEYS[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

if not string.find(redis.call('INFO', 'replication'), ARGV[1], 1, true) then return {1} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local apart = now - tonumber(ARGV[4])
if math.abs(apart) > allowed then return {2, apart} end

-- A write in any case: a server that takes none is not one to record at.
local function taken(marker)
  redis.call('PEXPIRE', lane, math.max(redis.call('PTTL', lane), 3600000))
  return {0, marker}
end

local marker = redis.call('ZRANGE', lane, '+inf', '+inf', 'BYSCORE')[1]
if marker and #marker == 41 and string.byte(marker) == 1 and string.sub(marker, 26) == life then
  local went = redis.call('ZSCORE', lane, 'w')
  local steady = not went or now >= went - allowed
  local its_age, its_lifetime = struct.unpack('>I4I4', marker, 18)
  if steady and its_age >= age and its_lifetime >= lifetime and marker ~= ARGV[8] and ARGV[9] ~= '1' then return taken(marker) end
  -- What was recorded so far is not kept for as long as we accept proofs.
  age, lifetime = math.max(age, its_age), math.max(lifetime, its_lifetime)
end
redis.call('ZREM', lane, 'w', marker or '')
-- Every node's clock is at most so far from ours: none has accepted a proof from later than that.
local opened = time[1] + math.ceil(ARGV[5] / 1000) + 1
marker = '\1' .. ARGV[3] .. struct.pack('>I4I4', 0, opened) .. struct.pack('>I4I4', age, lifetime) .. life
redis.call('ZADD', lane, '+inf', marker)
return taken(marker)
