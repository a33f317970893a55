#!lua
-- include lib_job.lua
-- include lib.lua
-- Queues an ended job again behind all that wait, from its last checkpoint, with all its attempts before it. Item: id.
-- Reply: {'', kind} (kind '': it waits or runs already, or is a gang's) | {'NONE'} | {'STATE', state} | {'FULL'} | {'GONE', reference}
return run(function()
    local id = arg()
    local job = load_job(id)
    if not job then
        return {'NONE'}
    elseif job[STATE] == 'queued' or job[STATE] == 'running' then
        return {'', ''} -- a second request: an idle worker may have got the job from the first one
    elseif job[STATE] == 'succeeded' then
        return {'STATE', job[STATE]}
    elseif call('ZCARD', 'st:queued') >= max_queued then
        return {'FULL'}
    end
    local gone
    each_ref(job, function(ref)
        local where, name, version = string.match(ref, '^(.):(.+)@(%d+)$')
        if call('HEXISTS', where .. ':' .. name, version) == 0 then
            gone = ref
        end
    end)
    if gone then
        return {'GONE', gone}
    end
    leave_state(id, job)
    each_ref(job, function(ref)
        call('SADD', 'ref:' .. ref, id)
    end)
    job[FAILURES], job[DEATHS], job[CANCEL], job[FINISHED] = 0, 0, 0, 0
    call('HDEL', 'x:' .. id, 'why')
    local order = call('GET', 'ids') + 0.5
    push_events(id, job, {enter_state(id, job, 'queued', {reason = 'retried on request'}, 0, order)})
    save_job(id, job)
    return {'', ready_kind(job)}
end)
