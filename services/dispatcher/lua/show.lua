#!lua flags=no-writes
-- include lib_job.lua
-- include lib_show.lua
-- One job. ARGV: id. Reply: {'', job, ms since 1970} | {'NONE'}
local job = load_job(ARGV[1])
local time = call('TIME')
return job and {'', show_job(ARGV[1], job, true), time[1] * 1000 + math.floor(time[2] / 1000)} or {'NONE'}
