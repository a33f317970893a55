#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Forgets the jobs that ended first when more than keep are kept. Item: keep, most to forget. Reply: {more left, id …}
return run(function()
    local keep, most = number(), number()
    local excess = call('LLEN', 'done') - keep
    if excess <= 0 then
        return {0}
    end
    local reply = {excess > most and 1 or 0}
    for _, id in ipairs(call('LPOP', 'done', math.min(excess, most))) do
        local job = load_job(id)
        if job then
            call('ZREM', 'st:' .. job[STATE], id)
            call('DEL', 'j:' .. id, 'x:' .. id, 'v:' .. id)
            if job[KEY] ~= '' then
                call('HDEL', 'keys', job[KEY])
            end
            reply[#reply + 1] = id
        end
    end
    return reply
end)
