-- Which versions of models are served. mp: the promoted version and the revision of its promotion; mpc: the canary, a version
-- that is tried beside it, and its percent of the requests; mph: what was promoted before, newest first, as mp had it; mpu: the
-- version that the last change of the model has rolled back, and what it was.
local HISTORY_MAX = 16

-- As texts; nil: none is promoted.
local function promoted_of(name)
    return string.match(call('HGET', 'mp', name) or '', '^(%d+):(%d+)$')
end

local function canary_of(name)
    return string.match(call('HGET', 'mpc', name) or '', '^(%d+):(.+)$')
end
