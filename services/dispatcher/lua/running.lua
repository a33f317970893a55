#!lua flags=no-writes
-- include lib_job.lua
-- Leases, for a new leader. ARGV: leave out so many, at most so many.
-- Reply: {{id, token, kind, attempt, worker, boot, to be cancelled, events reported} …}
local reply = {}
local from = tonumber(ARGV[1])
for i, id in ipairs(call('ZRANGE', 'st:running', from, from + ARGV[2] - 1)) do
    local job = load_job(id)
    reply[i] = {id, job[TOKEN], job[KIND], job[ATTEMPTS], job[WORKER], job[BOOT], job[CANCEL],
                job[SEQ]}
end
return reply
