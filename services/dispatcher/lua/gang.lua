#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Leases a waiting job to a gang, all at once: one token for all. Item: id, list of worker, boot … by rank.
-- Reply: {lease}; the lease is {} when the job does not wait any more, or wants other numbers.
return run(function()
    local id, given = arg(), list()
    local job = load_job(id)
    local count = #given / 2
    if not job or job[STATE] ~= 'queued' or job[DUE] > 0 or not job[REPLICAS] or count < job[LEAST] or
        count > job[REPLICAS] then
        return {{}}
    end
    leave_state(id, job)
    job[MEMBERS] = {}
    local workers = {}
    for rank = 1, count do
        workers[rank] = given[2 * rank - 1]
        job[MEMBERS][rank] = {given[2 * rank - 1], given[2 * rank], 0}
    end
    return {lease_to(id, job, given[1], given[2], {workers = workers})}
end, 1)
