-- Appends what a running attempt reports; events that are stored already (their number within the attempt is known) are not
-- stored again.
-- Item: id, token, worker, number of the first event, progress (or ''), list of events. Reply: {''} | {'STALE'} | {'RANK'}
return run(function()
    local id, token, worker, seq, progress, events = arg(), number(), arg(), number(), arg(), list()
    local job = load_job(id)
    if not is_running(job, token) then
        return {'STALE'}
    end
    local rank = rank_of(job, worker)
    if rank ~= 0 then
        return {rank and 'RANK' or 'STALE'}
    end
    local fresh = {}
    for i = math.max(job[SEQ] - seq + 2, 1), #events do
        fresh[#fresh + 1] = events[i]
    end
    if #fresh > 0 then
        push_events(id, job, fresh)
        job[SEQ] = seq + #events - 1
        job[PROGRESS] = tonumber(progress) or job[PROGRESS]
        save_job(id, job)
    end
    return {''}
end)
