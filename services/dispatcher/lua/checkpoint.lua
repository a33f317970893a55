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
    local newest = call('HGET', 'x:' .. id, 'c1')
    if newest == checkpoint then
        return {''} -- sent again
    end
    if newest then
        call('HSET', 'x:' .. id, 'c0', newest)
    end
    call('HSET', 'x:' .. id, 'c1', checkpoint)
    job[CHECKPOINTS] = job[CHECKPOINTS] + 1
    job[DEATHS] = 0
    push_events(id, job, {event('checkpoint', {step = step, path = path})})
    save_job(id, job)
    return {''}
end)
