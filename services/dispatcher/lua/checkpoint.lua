#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Records a checkpoint (the last two are kept) and forgives the deaths before it.
-- Of a gang also the failures before it: peers that were lost are no reason to give up what goes on.
-- Item: id, token, worker, packed checkpoint, its step, its path. Reply: {''} | {'STALE'} | {'RANK'}
return run(function()
    local id, token, worker, checkpoint, step, path = arg(), number(), arg(), arg(), number(), arg()
    local job = load_job(id)
    if not is_running(job, token) then
        return {'STALE'}
    end
    local rank = rank_of(job, worker)
    if rank ~= 0 then
        return {rank and 'RANK' or 'STALE'}
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
    if job[REPLICAS] then
        job[FAILURES] = 0
    end
    push_events(id, job, {event('checkpoint', {step = step, path = path})})
    save_job(id, job)
    return {''}
end)
