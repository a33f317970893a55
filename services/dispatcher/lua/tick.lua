#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Moves jobs whose delay is over into their queues, and counts. Item: most jobs to move.
-- Reply: {ms until the next one is due or -1, jobs by state (queued … dead), list of kind, number waiting …,
-- list of waiting gangs: kind, id, order, replicas, fewest …}
local GANGS_LOOKED_AT = 16 -- of each kind: those behind wait for these

return run(function()
    local due = call('ZRANGEBYSCORE', 'delayed', '-inf', now, 'LIMIT', 0, number())
    for _, id in ipairs(due) do
        local job = load_job(id)
        call('ZREM', 'delayed', id)
        job[DUE] = 0
        enqueue(id, job, id)
        save_job(id, job)
    end
    local head = call('ZRANGE', 'delayed', 0, 0, 'WITHSCORES')
    local reply = {head[1] and math.max(0, tonumber(head[2]) - now) or -1}
    for i, state in ipairs({'queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead'}) do
        reply[i + 1] = call('ZCARD', 'st:' .. state)
    end
    local waiting, gangs = {}, {}
    for _, kind in ipairs(call('SMEMBERS', 'kinds')) do
        local count = call('ZCARD', 'q:' .. kind)
        local oldest = call('ZRANGE', 'g:' .. kind, 0, GANGS_LOOKED_AT - 1, 'WITHSCORES')
        for i = 1, #oldest, 2 do
            local job = load_job(oldest[i])
            for _, part in ipairs({kind, oldest[i], oldest[i + 1], job[REPLICAS], job[LEAST]}) do
                gangs[#gangs + 1] = part
            end
        end
        if count == 0 and #oldest == 0 then
            call('SREM', 'kinds', kind)
        end
        waiting[#waiting + 1] = kind
        waiting[#waiting + 1] = count
    end
    reply[8], reply[9] = waiting, gangs
    return reply
end)
