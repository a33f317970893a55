#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Forgets a study. Item: name. Reply: {''} | {'NONE'}
return run(function()
    local name = arg()
    if call('HDEL', 'studies', name) == 0 then
        return {'NONE'}
    end
    call('UNLINK', 's:' .. name)
    return {''}
end)
