#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- include lib_model.lua
-- include lib_promote.lua
-- Makes a version of a model the one that is served; with less than 100 percent the canary beside that one.
-- Item: name, version, percent. Reply: {'', revision} | {'NONE'} | {'UNPROMOTED'} | {'SAME'}: it is the promoted one
return run(function()
    local name, version, percent = arg(), arg(), arg()
    if call('HEXISTS', 'm:' .. name, version) == 0 then
        return {'NONE'}
    end
    if tonumber(percent) >= 100 then
        return {'', promote(name, version)} -- also when it is served already: now it is the one promoted last
    end
    local promoted = promoted_of(name)
    if not promoted then
        return {'UNPROMOTED'}
    elseif promoted == version then
        return {'SAME'}
    end
    call('HSET', 'mpc', name, version .. ':' .. percent)
    call('HDEL', 'mpu', name)
    return {'', call('INCR', 'rev')}
end)
