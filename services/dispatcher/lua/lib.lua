-- Of scripts that change something. ARGV: epoch, number of this call, keep_events, max_deaths, max_queued, then the items.
-- The epoch fences off a dispatcher that no longer leads. Replies are kept under the call's number until 64 calls later, so
-- that a call sent again after a broken connection is answered and not done twice.
local keep_events, max_deaths, max_queued = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cursor = 5
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%013.0f', now)

local function arg()
    cursor = cursor + 1
    return ARGV[cursor]
end

local function number()
    return tonumber(arg())
end

local function list()
    local items = {}
    for i = 1, number() do
        items[i] = arg()
    end
    return items
end

local function save_job(id, job)
    call('SET', 'j:' .. id, pack(job))
end

-- An event: 13 digits of time, length of the type, type, data as msgpack.
local function event(kind, data)
    return string.char(#kind) .. kind .. pack(data)
end

-- Numbers the events and keeps the newest.
local function push_events(id, job, events)
    local key, bytes = 'v:' .. id, 0
    for i = 1, #events do
        events[i] = stamp .. events[i]
        bytes = bytes + #events[i]
    end
    call('RPUSH', key, unpack(events))
    job[LAST] = job[LAST] + #events
    job[BYTES] = job[BYTES] + bytes
    local excess = job[LAST] - job[FIRST] + 1 - keep_events
    while excess > 0 or (job[BYTES] > EVENT_BYTES_MAX and job[LAST] > job[FIRST]) do
        local dropped = call('LPOP', key, excess > 0 and excess or 1)
        for i = 1, #dropped do
            job[BYTES] = job[BYTES] - #dropped[i]
        end
        job[FIRST] = job[FIRST] + #dropped
        excess = 0
    end
end

local function enqueue(id, job, order)
    call('ZADD', queue_of(job), order, id)
    call('SADD', 'kinds', job[KIND])
end

-- For whom one more waits: gangs are looked for by themselves.
local function ready_kind(job)
    return job[REPLICAS] and '' or job[KIND]
end

local function set_reason(id, reason)
    if reason ~= '' then
        call('HSET', 'x:' .. id, 'why', reason)
    end
end

-- Takes a job out of its state; the caller puts it into the next one and saves.
local function leave_state(id, job)
    call('ZREM', 'st:' .. job[STATE], id)
    if FINAL[job[STATE]] then
        call('LREM', 'done', -1, id)
    elseif job[STATE] == 'queued' then
        call('ZREM', queue_of(job), id)
        if job[DUE] > 0 then
            call('ZREM', 'delayed', id)
        end
    end
end

-- data: of the state's event. delay and order: of a queued job.
local function enter_state(id, job, state, data, delay, order)
    job[STATE] = state
    job[DUE] = 0
    call('ZADD', 'st:' .. state, id, id)
    if state == 'queued' and delay > 0 then
        job[DUE] = now + delay
        data.delay_ms = delay
        call('ZADD', 'delayed', job[DUE], id)
    elseif state == 'queued' then
        enqueue(id, job, order)
    elseif FINAL[state] then
        job[FINISHED] = now
        call('RPUSH', 'done', id)
        each_ref(job, function(ref)
            call('SREM', 'ref:' .. ref, id)
        end)
    end
    data.state = state
    return event('state', data)
end

-- A lease as replies have it; with_body() adds body and checkpoint. data: of the event.
local function lease_to(id, job, worker, boot, data)
    job[STATE], job[DUE] = 'running', 0
    job[TOKEN] = call('INCR', 'tokens')
    job[ATTEMPTS] = job[ATTEMPTS] + 1
    job[WORKER], job[BOOT], job[STARTED], job[SEQ], job[CANCEL] = worker, boot, now, 0, 0
    call('ZADD', 'st:running', id, id)
    data.state, data.worker, data.attempt = 'running', worker, job[ATTEMPTS]
    push_events(id, job, {event('state', data)})
    save_job(id, job)
    return {id, job[TOKEN], job[KIND], job[ATTEMPTS]}
end

local function lease_job(id, job, worker, boot)
    return lease_to(id, job, worker, boot, {})
end

-- Leases the oldest job that waits in one of these queues, only older than before (0: any); {} if there is none.
local function lease_next(kinds, worker, boot, before)
    local oldest, from
    for i = 1, #kinds do
        local head = call('ZRANGE', 'q:' .. kinds[i], 0, 0, 'WITHSCORES')
        if head[1] and (not oldest or tonumber(head[2]) < oldest) and (before == 0 or tonumber(head[2]) < before) then
            oldest, from = tonumber(head[2]), kinds[i]
        end
    end
    if not from then
        return {}
    end
    local id = call('ZPOPMIN', 'q:' .. from)[1]
    local job = load_job(id)
    call('ZREM', 'st:queued', id)
    return lease_job(id, job, worker, boot)
end

-- Back-off: 1 s, doubled with each failure, at most 5 min, of which jitter (0 … 1) takes up to half away.
local function backoff(failures, jitter)
    local full = math.min(1000 * 2 ^ (failures - 1), 300000)
    return math.floor(full * (1 - jitter / 2))
end

-- What becomes of a job when its attempt ends: its state and, when queued, the delay.
local function verdict(job, outcome, retryable, jitter)
    if outcome == 'succeeded' then
        return 'succeeded', 0
    elseif outcome == 'cancelled' or job[CANCEL] == 1 then
        return 'cancelled', 0
    elseif outcome == 'failed' then
        if not retryable then
            return 'failed', 0
        end
        job[FAILURES] = job[FAILURES] + 1
        if job[FAILURES] >= job[MAX_ATTEMPTS] then
            return 'failed', 0
        end
        return 'queued', backoff(job[FAILURES], jitter)
    elseif outcome == 'died' then
        job[DEATHS] = job[DEATHS] + 1
        return job[DEATHS] >= max_deaths and 'dead' or 'queued', 0
    end
    return 'queued', 0 -- released or lost: costs nothing
end

local function is_running(job, token)
    return job and job[STATE] == 'running' and job[TOKEN] == token
end

-- Ends the present attempt. events: reported with the end. Returns state and delay.
local function end_attempt(id, job, outcome, retryable, jitter, reason, failure, events)
    local state, delay = verdict(job, outcome, retryable, jitter)
    leave_state(id, job)
    events[#events + 1] = enter_state(id, job, state, {outcome = outcome, reason = reason ~= '' and reason or nil},
                                      delay, id)
    push_events(id, job, events)
    job[WORKER], job[BOOT] = '', ''
    if job[MEMBERS] then
        job[MEMBERS] = {}
    end
    if failure ~= '' then
        call('HSET', 'x:' .. id, 'err', failure)
    end
    set_reason(id, reason)
    return state, delay
end

-- Body and newest checkpoint of a lease in a reply; not kept with the reply.
local function with_body(lease)
    if lease and lease[1] then
        local cold = call('HMGET', 'x:' .. lease[1], 'body', 'c1')
        lease[5], lease[6] = cold[1] or '', cold[2] or ''
    end
end

-- Calls step() for each item. leases: position of a lease in the items' replies, or nil.
local function run(step, leases)
    local lead = call('HMGET', 'lead', 'epoch', 'endpoint')
    if lead[1] ~= ARGV[1] then
        return {'LEADER', lead[2] or ''}
    end
    local slot = tostring(ARGV[2] % 64)
    local kept, replies = call('HGET', 'memo', slot), nil
    if kept then
        kept = unpack_value(kept)
        replies = kept[1] == ARGV[2] and kept[2] or nil
    end
    if not replies then
        replies = {}
        while cursor < #ARGV do
            replies[#replies + 1] = step()
        end
        call('HSET', 'memo', slot, pack({ARGV[2], replies}))
    end
    if leases then
        for i = 1, #replies do
            with_body(replies[i][leases])
        end
    end
    return {'OK', replies}
end
