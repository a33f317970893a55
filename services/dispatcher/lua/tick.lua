#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Moves jobs whose delay is over into their queues, and counts. Item: most jobs to move.
-- Reply: {ms until the next one is due or -1, jobs by state (queued … dead), list of kind, number waiting …}
return run(function()
    local due = call('ZRANGEBYSCORE', 'delayed', '-inf', now, 'LIMIT', 0, number())
    for _, id in ipairs(due) do
        local job = load_job(id)
        call('ZREM', 'delayed', id)
        job[DUE] = 0
        enqueue(id, job[KIND], id)
        save_job(id, job)
    end
    local head = call('ZRANGE', 'delayed', 0, 0, 'WITHSCORES')
    local reply = {head[1] and math.max(0, tonumber(head[2]) - now) or -1}
    for i, state in ipairs({'queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead'}) do
        reply[i + 1] = call('ZCARD', 'st:' .. state)
    end
    local waiting = {}
    for _, kind in ipairs(call('SMEMBERS', 'kinds')) do
        local count = call('ZCARD', 'q:' .. kind)
        if count == 0 then
            call('SREM', 'kinds', kind)
        end
        waiting[#waiting + 1] = kind
        waiting[#waiting + 1] = count
    end
    reply[8] = waiting
    return reply
end)
