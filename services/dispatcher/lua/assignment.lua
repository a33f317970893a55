#!lua flags=no-writes
-- include lib_job.lua
-- What a worker needs to begin, to be sent again. ARGV: id. Reply: {body, checkpoint}
local cold = call('HMGET', 'x:' .. ARGV[1], 'body', 'c1')
return {cold[1] or '', cold[2] or ''}
