-- From now on this version is the one that is served: a canary ends. Returns the revision.
local function promote(name, version)
    local revision, before = call('INCR', 'rev'), call('HGET', 'mp', name)
    if before and promoted_of(name) ~= tostring(version) then
        local history, kept = {before}, call('HGET', 'mph', name) or ''
        for entry in string.gmatch(kept, '%S+') do
            history[#history + 1] = #history < HISTORY_MAX and entry or nil
        end
        call('HSET', 'mph', name, table.concat(history, ' '))
    end
    call('HSET', 'mp', name, version .. ':' .. revision)
    call('HDEL', 'mpc', name)
    call('HDEL', 'mpu', name)
    return revision
end
