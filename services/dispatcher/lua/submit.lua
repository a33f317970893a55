#!lua
-- include lib_job.lua
-- include lib.lua
-- Queues jobs; leases one at once where an idle worker is named (the new one unless others wait already).
-- Item: kind, key, digest of what came with the key, max_attempts, delay_ms, replicas (1: no gang), fewest, body, list of
-- references, worker, boot.
-- Reply: {'', id, existing, lease} | {'FULL'} | {'GONE', reference} | {'OTHER', id of the job that has the key}

local function missing_ref(refs)
    for i = 1, #refs do
        local where, name, version = string.match(refs[i], '^(.):(.+)@(%d+)$')
        if call('HEXISTS', where .. ':' .. name, version) == 0 then
            return refs[i]
        end
    end
end

return run(function()
    local kind, key, digest, max_attempts, delay = arg(), arg(), arg(), number(), number()
    local replicas, least, body = number(), number(), arg()
    local refs, worker, boot = list(), arg(), arg()
    local known, same = keyed_job(key, digest)
    if not same then
        return {'OTHER', known}
    elseif known ~= '' then
        return {'', known, 1, {}}
    end
    if call('ZCARD', 'st:queued') >= max_queued then
        return {'FULL'}
    end
    local gone = missing_ref(refs)
    if gone then
        return {'GONE', gone}
    end
    local id = string.format('%.0f', call('INCR', 'ids'))
    local job = {'queued', kind, 0, 0, 0, max_attempts, 0, 0, '', '', 0, 1, 0, 0, 0, table.concat(refs, ' '), 0, now, 0, 0,
                 key, 0, 0, 0}
    if replicas > 1 then
        job[REPLICAS], job[LEAST], job[MEMBERS] = replicas, least, {}
    end
    if key ~= '' then
        call('HSET', 'keys', key, id .. ' ' .. digest)
    end
    if body ~= '' then
        call('HSET', 'x:' .. id, 'body', body)
    end
    each_ref(job, function(ref)
        call('SADD', 'ref:' .. ref, id)
    end)
    if worker ~= '' and delay == 0 and call('EXISTS', 'q:' .. kind) == 0 then
        push_events(id, job, {event('state', {state = 'queued'})})
        return {'', id, 0, lease_job(id, job, worker, boot)}
    end
    push_events(id, job, {enter_state(id, job, 'queued', {}, delay, id)})
    save_job(id, job)
    return {'', id, 0, worker ~= '' and lease_next({kind}, worker, boot, 0) or {}}
end, 4)
