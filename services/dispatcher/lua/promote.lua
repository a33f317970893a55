#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Makes a version of a model the one that is served. Item: name, version. Reply: {'', revision} | {'NONE'}
return run(function()
    local name, version = arg(), arg()
    if call('HEXISTS', 'm:' .. name, version) == 0 then
        return {'NONE'}
    end
    local revision = call('INCR', 'rev') -- also when it is served already: now it is the one promoted last
    call('HSET', 'mp', name, version .. ':' .. revision)
    return {'', revision}
end)
