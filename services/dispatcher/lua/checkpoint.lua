#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Records a checkpoint (the last two are kept) and forgives the deaths before it.
-- Item: id, token, packed checkpoint, its step, its path. Reply: {''} | {'STALE'}
return run(function()
    local id, token, checkpoint, step, path = arg(), number(), arg(), number(), arg()
    local job = load_job(id)
    if not is_running(job, token) then
        return {'STALE'}
    end
    local key = 'x:' .. id
    local newest = call('HMGET', key, 'c1', 'p1')
    if newest[1] == checkpoint then
        return {''} -- sent again
    end
    if newest[1] then
        call('HSET', key, 'c0', newest[1], 'p0', newest[2])
    end
    call('HSET', key, 'c1', checkpoint, 'p1', path)
    job[CHECKPOINTS] = job[CHECKPOINTS] + 1
    job[DEATHS] = 0
    push_events(id, job, {event('checkpoint', {step = step, path = path})})
    save_job(id, job)
    return {''}
end)
