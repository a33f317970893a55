#!lua flags=no-writes
-- A part of a study's log. ARGV: name, entries that are known, at most so many, about so many bytes.
-- Reply: {'', entries of the whole log, created, about, entry …} | {'NONE'}
local call, unpack_value = redis.call, cmsgpack.unpack
local name, at, most, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local packed = call('HGET', 'studies', name)
if not packed then
    return {'NONE'}
end
local study, key = unpack_value(packed), 's:' .. name
local last = call('LLEN', key)
local reply = {'', last, study[2], study[1]}
while most > 0 and bytes > 0 and at < last do
    local part = call('LRANGE', key, at, at + math.min(most, 50) - 1)
    for i = 1, #part do
        reply[#reply + 1] = part[i]
        bytes = bytes - #part[i]
    end
    at = at + #part
    most = most - #part
end
return reply
