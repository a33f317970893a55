#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Leases the oldest waiting job of one of the kinds to a worker with a free slot; a gang that gathers its workers leaves them
-- only what is older (before; 0: all). Item: worker, boot, before, list of kinds. Reply: {lease}; the lease is {} when nothing waits.
return run(function()
    local worker, boot, before = arg(), arg(), number()
    return {lease_next(list(), worker, boot, before)}
end, 1)
