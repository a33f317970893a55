#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- The end of an attempt as the dispatcher sees it: the lease ran out or was given back, the worker's process was replaced, or
-- there was no progress. Item: id, token, outcome (lost, released, died, failed), jitter, packed failure, reason.
-- Reply: {'', state, kind ('': a gang's), delay_ms} | {'STALE'}
return run(function()
    local id, token, outcome, jitter, failure, reason = arg(), number(), arg(), number(), arg(), arg()
    local job = load_job(id)
    if not is_running(job, token) then
        return {'STALE'}
    end
    local state, delay = end_attempt(id, job, outcome, true, jitter, reason, failure, {})
    save_job(id, job)
    return {'', state, ready_kind(job), delay}
end)
