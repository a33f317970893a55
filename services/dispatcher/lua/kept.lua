#!lua flags=no-writes
-- include lib_job.lua
-- What the files belong to. ARGV: ids of jobs. Reply: {{state or '', token, checkpoint, the one before} …}
local reply = {}
for i, id in ipairs(ARGV) do
    local job = load_job(id)
    local cold = job and call('HMGET', 'x:' .. id, 'c1', 'c0') or {}
    reply[i] = {job and job[STATE] or '', job and job[TOKEN] or 0, cold[1] or '', cold[2] or ''}
end
return reply
