#!lua flags=allow-oom
-- Leadership. lead: who leads, with the epoch that every change is checked against; leader: a key that expires unless the
-- leader renews it. An epoch ends only when another dispatcher takes over, so a leader that comes back from an outage goes on
-- in its epoch if nobody did. A dispatcher at the leader's own endpoint takes over at once: two cannot serve one endpoint.
-- ARGV: id of the dispatcher, its endpoint, time-out in ms, schema version, its epoch (0: none)
-- stack: a random name of these data, so that files of other data are known as such.
-- Reply: {'SCHEMA', version} | {'FOREIGN'} | {'FOLLOW', endpoint} | {'LEAD', epoch, is it a new one, stack}
local call = redis.call
local id, endpoint, timeout, schema, epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local found = call('GET', 'schema')
if not found then
    if call('DBSIZE') > 0 then
        return {'FOREIGN'}
    end
    call('SET', 'schema', schema)
    call('SET', 'stack', id)
elseif tonumber(found) > tonumber(schema) then
    return {'SCHEMA', tonumber(found)}
end
local lead = call('HMGET', 'lead', 'epoch', 'id', 'endpoint')
if lead[1] == epoch and lead[2] == id then
    call('SET', 'leader', id, 'PX', timeout)
    return {'LEAD', tonumber(epoch), 0, call('GET', 'stack')}
end
if call('EXISTS', 'leader') == 1 and lead[3] ~= endpoint then
    return {'FOLLOW', lead[3]}
end
local new = call('HINCRBY', 'lead', 'epoch', 1)
call('HSET', 'lead', 'id', id, 'endpoint', endpoint)
call('SET', 'leader', id, 'PX', timeout)
call('DEL', 'memo')
if found and tonumber(found) < tonumber(schema) then
    call('SET', 'schema', schema) -- what is there reads the same; what will be does not, for older versions
end
return {'LEAD', new, 1, call('GET', 'stack')}
