#!lua
-- include lib_job.lua
-- include lib.lua
-- Makes a study, unless it is there with the same about. Item: name, about, most studies.
-- Reply: {'', entries, created, about} | {'OTHER'} | {'FULL'}
return run(function()
    local name, about, most = arg(), arg(), number()
    local packed = call('HGET', 'studies', name)
    if not packed then
        if call('HLEN', 'studies') >= most then
            return {'FULL'}
        end
        local created = now
        call('HSET', 'studies', name, pack({about, created}))
        return {'', 0, created, about}
    end
    local study = unpack_value(packed)
    if study[1] ~= about then
        return {'OTHER'}
    end
    return {'', call('LLEN', 's:' .. name), study[2], about}
end)
