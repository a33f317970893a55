#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- include lib_model.lua
-- Takes a version of a model out of service: the canary, or, if there is none, the promoted one, for the one that was promoted
-- before, with the revision that it had then. The same asked again is answered and not done again.
-- Item: name, version. Reply: {'', revision, version that is promoted now, was it the canary} | {'NONE'} |
-- {'CANARY', version}: that one is to go first | {'FIRST'}: nothing was promoted before |
-- {'GONE', version, one promoted earlier that is kept or 0}: that one was | {'OTHER', promoted version, canary or 0}
return run(function()
    local name, version = arg(), arg()
    local promoted, canary = promoted_of(name), canary_of(name)
    if not promoted then
        return {'NONE'}
    end
    if version == canary then
        call('HDEL', 'mpc', name)
        call('HSET', 'mpu', name, version .. ':1')
        return {'', call('INCR', 'rev'), tonumber(promoted), 1}
    end
    if version ~= promoted then
        local undone, what = string.match(call('HGET', 'mpu', name) or '', '^(%d+):(%d)$')
        if version == undone then
            return {'', 0, tonumber(promoted), tonumber(what)}
        end
        return {'OTHER', tonumber(promoted), tonumber(canary or 0)}
    end
    if canary then
        return {'CANARY', tonumber(canary)}
    end
    local history, kept = {}, 0
    for entry in string.gmatch(call('HGET', 'mph', name) or '', '%S+') do
        local number = string.match(entry, '^%d+')
        history[#history + 1] = entry
        if kept == 0 and number ~= version and call('HEXISTS', 'm:' .. name, number) == 1 then
            kept = tonumber(number)
        end
    end
    if not history[1] then
        return {'FIRST'}
    end
    local before = table.remove(history, 1)
    local number = string.match(before, '^%d+')
    if call('HEXISTS', 'm:' .. name, number) == 0 then
        return {'GONE', tonumber(number), kept}
    end
    call('HSET', 'mp', name, before)
    call('HSET', 'mph', name, table.concat(history, ' '))
    call('HSET', 'mpu', name, version .. ':0')
    return {'', call('INCR', 'rev'), tonumber(number), 0}
end)
