#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- include lib_model.lua
-- Forgets a version of a data set (d) or model (m), or all; refused while it is promoted or the canary, or a waiting or running
-- job refers to it.
-- Item: d or m, name, version (0: all). Reply: {'', revision, path …} | {'NONE'} | {'PROMOTED'} | {'CANARY'} |
-- {'USED', version, id}
return run(function()
    local where, name, version = arg(), arg(), arg()
    local key = where .. ':' .. name
    local versions = version == '0' and call('HKEYS', key) or {version}
    if #versions == 0 or call('HEXISTS', key, versions[1]) == 0 then
        return {'NONE'}
    end
    for _, v in ipairs(versions) do
        if where == 'm' and promoted_of(name) == v then
            return {'PROMOTED'}
        elseif where == 'm' and canary_of(name) == v then
            return {'CANARY'}
        end
        local user = call('SRANDMEMBER', 'ref:' .. key .. '@' .. v)
        if user then
            return {'USED', v, user}
        end
    end
    local reply = {'', call('INCR', 'rev')}
    for _, v in ipairs(versions) do
        reply[#reply + 1] = unpack_value(call('HGET', key, v))[1]
        call('HDEL', key, v)
        call('DECR', where .. 'c')
    end
    return reply
end)
