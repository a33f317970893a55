#!lua
-- include lib_job.lua
-- include lib.lua
-- Adds entries to a study's log. Item: name, entries before these, most entries of a log, how many, each entry.
-- The very same entries at that place are stored already. Reply: {'', entries} | {'NONE'} | {'CONFLICT', entries} | {'FULL'}
return run(function()
    local name, at, most, count = arg(), number(), number(), number()
    local entries = {}
    for i = 1, count do
        entries[i] = arg()
    end
    if call('HEXISTS', 'studies', name) == 0 then
        return {'NONE'}
    end
    local key = 's:' .. name
    local have = call('LLEN', key)
    if have >= at + count then
        local same = call('LRANGE', key, at, at + count - 1)
        for i = 1, count do
            if same[i] ~= entries[i] then
                return {'CONFLICT', have}
            end
        end
        return {'', at + count}
    elseif have ~= at then
        return {'CONFLICT', have}
    elseif at + count > most then
        return {'FULL'}
    end
    for i = 1, count do
        call('RPUSH', key, entries[i])
    end
    return {'', at + count}
end)
