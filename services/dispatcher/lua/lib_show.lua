-- A job as replies have it: hot fields, then cold ones.
local function show_job(id, job, cold)
    local reply = {id, job[KIND], job[STATE], job[ATTEMPTS], job[DEATHS], string.format('%.9g', job[PROGRESS]), job[WORKER],
                   job[TOKEN], job[CREATED], job[STARTED], job[FINISHED], job[LAST], job[VERSION], job[FAILURES],
                   job[MAX_ATTEMPTS], job[DUE], job[CANCEL]}
    local key = 'x:' .. id
    if cold then
        local parts = call('HMGET', key, 'why', 'body', 'res', 'err', 'c1')
        for i = 1, 5 do
            reply[17 + i] = parts[i] or ''
        end
        reply[23] = {}
        for i, member in ipairs(job[MEMBERS] or {}) do
            reply[23][i] = member[1]
        end
        reply[24] = job[REPLICAS] or 1
    else
        reply[18] = job[STATE] ~= 'succeeded' and call('HGET', key, 'why') or ''
    end
    return reply
end
