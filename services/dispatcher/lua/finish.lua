#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- include lib_model.lua
-- include lib_promote.lua
-- The end of an attempt as its worker tells it: last events, state, result, registration and the worker's next lease.
-- Item: id, token, outcome, retryable, jitter, result, packed failure, reason, list of what to register (nothing, or d or m,
-- name, base, path, digest, info, promote), number of the first event, list of events, worker, boot, list of kinds for the next
-- lease and what it must be older than (0: anything). A gang's job ends with rank 0, or when another one fails or dies; the
-- others' success and what they give back end their part alone (state "part").
-- Reply: {'', state, version, lease, kind ('': a gang's), delay_ms, revision, paths of checkpoints to be deleted …} | {'STALE'} |
-- {'RANK'}

local function newest_version(key)
    local newest = 0
    for _, version in ipairs(call('HKEYS', key)) do
        newest = math.max(newest, tonumber(version))
    end
    return newest
end

-- The version's number, or nil: another job registered a version meanwhile, the attempt is to be repeated.
local function register(id, job, what)
    local where, name, base, path, digest, info, when = unpack(what)
    local key = where .. ':' .. name
    local newest = newest_version(key)
    local record = newest > 0 and unpack_value(call('HGET', key, newest))
    if record and record[1] == path and record[2] == digest then
        return newest -- nothing new was made
    end
    if where == 'd' and newest ~= tonumber(base) and (job[KIND] == 'ingest' or tonumber(base) > 0) then
        return nil
    end
    local version = call('HINCRBY', where .. 'n', name, 1)
    call('HSET', key, version, pack({path, digest, id, now, info}))
    call('INCR', where .. 'c')
    call('INCR', 'rev')
    if when == 'always' or (when == 'first' and not promoted_of(name)) then
        promote(name, version)
    end
    return version
end

local function fresh_events(job, seq, events)
    local fresh = {}
    for i = math.max(job[SEQ] - seq + 2, 1), #events do
        fresh[#fresh + 1] = events[i]
    end
    return fresh
end

local function forget_leftovers(id, job)
    if job[ATTEMPTS] == 1 and job[CHECKPOINTS] == 0 and job[CANCEL] == 0 then
        return {}
    end
    local key, gone = 'x:' .. id, {}
    local paths = job[CHECKPOINTS] > 0 and call('HMGET', key, 'p1', 'p0') or {}
    for i = 1, #paths do
        gone[#gone + 1] = paths[i] or nil
    end
    call('HDEL', key, 'c1', 'p1', 'c0', 'p0', 'err', 'why')
    return gone
end

-- Rank 1 and up: its success, or what it gives back. Sent again it is answered.
local function end_part(id, job, rank, outcome)
    local member = job[MEMBERS][rank + 1]
    if member[3] ~= 0 then
        return false
    end
    member[3] = outcome == 'succeeded' and 1 or 2
    push_events(id, job, {event('part', {rank = rank, worker = member[1], outcome = outcome})})
    save_job(id, job)
    return true
end

return run(function()
    local id, token, outcome, retryable, jitter = arg(), number(), arg(), number() == 1, number()
    local result, failure, reason, what, seq, events = arg(), arg(), arg(), list(), number(), list()
    local worker, boot, kinds, before = arg(), arg(), list(), number()
    local job = load_job(id)
    if job and job[ENDED] == token then
        return {'', job[STATE], job[VERSION], {}, ready_kind(job), 0, 0}
    end
    if not is_running(job, token) then
        return {'STALE'}
    end
    local rank = rank_of(job, worker)
    if not rank then
        return {'STALE'}
    elseif rank > 0 and (what[1] or #events > 0) then
        return {'RANK'}
    elseif rank > 0 and (outcome == 'succeeded' or (outcome == 'released' and job[CANCEL] == 0)) then
        local first = end_part(id, job, rank, outcome)
        return {'', 'part', 0, first and #kinds > 0 and lease_next(kinds, worker, boot, before) or {}, '', 0, 0}
    end
    local version, revision, gone = 0, 0, {}
    if outcome == 'succeeded' and what[1] then
        version = register(id, job, what)
        if not version then
            outcome, version, reason = 'released', 0, 'another version was registered meanwhile: done again on top of it'
        else
            job[VERSION] = version
            revision = tonumber(call('GET', 'rev') or 0)
        end
    end
    if outcome == 'succeeded' then
        gone = forget_leftovers(id, job)
        job[PROGRESS] = 1
        if result ~= '' then
            call('HSET', 'x:' .. id, 'res', result)
        end
    end
    local state, delay = end_attempt(id, job, outcome, retryable, jitter, reason, failure,
                                     fresh_events(job, seq, events))
    job[ENDED] = token
    save_job(id, job)
    return {'', state, version, #kinds > 0 and lease_next(kinds, worker, boot, before) or {}, ready_kind(job), delay,
            revision,
            unpack(gone)}
end, 4)
