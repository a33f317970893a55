#!lua flags=no-writes
-- include lib_job.lua
-- Leases, for a new leader. ARGV: leave out so many, at most so many.
-- Reply: {{id, token, kind, attempt, worker, boot, to be cancelled, events reported, list of the gang's:
-- worker, boot, what became of its part …} …}
local reply = {}
local from = tonumber(ARGV[1])
for i, id in ipairs(call('ZRANGE', 'st:running', from, from + ARGV[2] - 1)) do
    local job = load_job(id)
    local gang = {}
    for _, member in ipairs(job[MEMBERS] or {}) do
        gang[#gang + 1], gang[#gang + 2], gang[#gang + 3] = member[1], member[2], member[3]
    end
    reply[i] = {id, job[TOKEN], job[KIND], job[ATTEMPTS], job[WORKER], job[BOOT], job[CANCEL],
                job[SEQ], gang}
end
return reply
