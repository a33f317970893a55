-- What all scripts share: a job's record, its events, and the rules of its states. README.md says how the keys are laid out;
-- common/job/job.c has the same rules in C.
local call, pack, unpack_value = redis.call, cmsgpack.pack, cmsgpack.unpack

-- A job's record, j:<id>: one packed array of these.
local STATE, KIND, ATTEMPTS, FAILURES, DEATHS, MAX_ATTEMPTS, TOKEN = 1, 2, 3, 4, 5, 6, 7
local ENDED = 8 -- token of the last attempt that its worker ended: the same end sent again is answered, not refused
local WORKER, BOOT = 9, 10
local LAST, FIRST, BYTES = 11, 12, 13 -- numbers of the newest and the oldest event kept; bytes of all kept
local SEQ = 14 -- events that the present attempt has reported
local CANCEL, REFS, DUE, CREATED, STARTED, FINISHED, KEY = 15, 16, 17, 18, 19, 20, 21
local PROGRESS, VERSION, CHECKPOINTS = 22, 23, 24
-- Of a job that a gang does, absent from others: workers it asks for, fewest it begins with, and those of the present
-- attempt by rank: {worker, boot, 0 | 1: its part is done | 2: it gave its part back}.
local REPLICAS, LEAST, MEMBERS = 25, 26, 27

local EVENT_BYTES_MAX = 16777216 -- of one job
local FINAL = {succeeded = true, failed = true, cancelled = true, dead = true}

local function load_job(id)
    local packed = call('GET', 'j:' .. id)
    return packed and unpack_value(packed)
end

-- The job that an idempotency key stands for, and whether it was submitted with the same kind and body.
local function keyed_job(key, digest)
    local known = key ~= '' and call('HGET', 'keys', key)
    if not known then
        return '', true
    end
    local id, first = string.match(known, '^(%d+) ?(%x*)$')
    return id, first == digest or first == ''
end

-- Where a job waits.
local function queue_of(job)
    return (job[REPLICAS] and 'g:' or 'q:') .. job[KIND]
end

-- A worker's rank in the present attempt; nil: it has no part in it.
local function rank_of(job, worker)
    if not job[MEMBERS] or not job[MEMBERS][1] then
        return 0
    end
    for i, member in ipairs(job[MEMBERS]) do
        if member[1] == worker then
            return i - 1
        end
    end
end

local function each_ref(job, fn)
    for ref in string.gmatch(job[REFS], '%S+') do
        fn(ref)
    end
end
