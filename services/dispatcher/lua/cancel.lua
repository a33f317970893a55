#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Cancels: a waiting job at once, a running one by a mark that its worker is told of. Item: id, reason.
-- Reply: {'', state, kind, token} | {'NONE'} | {'ENDED', state}
return run(function()
    local id, reason = arg(), arg()
    local job = load_job(id)
    if not job then
        return {'NONE'}
    elseif job[STATE] == 'queued' then
        local waited = job[DUE] == 0
        leave_state(id, job)
        push_events(id, job, {enter_state(id, job, 'cancelled', {reason = reason}, 0, 0)})
        set_reason(id, reason)
        save_job(id, job)
        return {'', 'cancelled', waited and ready_kind(job) or '', 0}
    elseif job[STATE] == 'running' then
        if job[CANCEL] == 0 then
            job[CANCEL] = 1
            push_events(id, job, {event('cancel', {reason = reason})})
            set_reason(id, reason)
            save_job(id, job)
        end
        return {'', 'running', job[KIND], job[TOKEN]}
    elseif job[STATE] == 'cancelled' then
        return {'', 'cancelled', '', 0}
    end
    return {'ENDED', job[STATE]}
end)
