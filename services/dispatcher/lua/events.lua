#!lua flags=no-writes
-- include lib_job.lua
-- Events of a job. ARGV: id, only those after this number, at most so many, about so many bytes.
-- Reply: {'', state, first kept, newest, number of the first here, event …} | {'NONE'}
local id, after, most, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local job = load_job(id)
if not job then
    return {'NONE'}
end
local at = math.max(after + 1, job[FIRST])
local reply = {'', job[STATE], job[FIRST], job[LAST], at}
while most > 0 and bytes > 0 and at <= job[LAST] do
    local count = math.min(most, 50, job[LAST] - at + 1)
    local part = call('LRANGE', 'v:' .. id, at - job[FIRST], at - job[FIRST] + count - 1)
    for i = 1, #part do
        reply[#reply + 1] = part[i]
        bytes = bytes - #part[i]
    end
    at = at + count
    most = most - count
end
return reply
