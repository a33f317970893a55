#!lua flags=allow-oom
-- The leader ends and lets another follow at once. ARGV: epoch
if redis.call('HGET', 'lead', 'epoch') == ARGV[1] then
    redis.call('DEL', 'leader')
end
return {'OK'}
