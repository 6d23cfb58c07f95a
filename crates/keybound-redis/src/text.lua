-- A text that nodes share: says what it is, or replaces it, at the server that the node knows.
--
-- KEYS: where it is.
-- ARGV: the line of this life of the server in INFO, the time of the node and how far clocks may be apart (ms); to replace it, what
--       it should be, '' for nothing, and what it becomes.
-- Answers {1} if this is not that server, {2, ms} if clocks are too far apart, or {0, what it is now}, '' for nothing.
if not string.find(redis.call('INFO', 'replication'), ARGV[1], 1, true) then return {1} end
local time = redis.call('TIME')
local apart = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[2])
if math.abs(apart) > tonumber(ARGV[3]) then return {2, apart} end

local held = redis.call('GET', KEYS[1]) or ''
if #ARGV == 5 and held == ARGV[4] then
  redis.call('SET', KEYS[1], ARGV[5])
  held = ARGV[5]
end
return {0, held}
