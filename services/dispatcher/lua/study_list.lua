#!lua flags=no-writes
-- The studies, newest first. ARGV: at most so many. Reply: {{name, entries, created} …}
local call, unpack_value = redis.call, cmsgpack.unpack
local all = call('HGETALL', 'studies')
local list = {}
for i = 1, #all, 2 do
    list[#list + 1] = {all[i], call('LLEN', 's:' .. all[i]), unpack_value(all[i + 1])[2]}
end
table.sort(list, function(a, b)
    return a[3] > b[3] or (a[3] == b[3] and a[1] < b[1])
end)
local reply = {}
for i = 1, math.min(#list, tonumber(ARGV[1])) do
    reply[i] = list[i]
end
return reply
