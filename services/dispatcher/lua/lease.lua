#!lua flags=allow-oom
-- include lib_job.lua
-- include lib.lua
-- Leases the oldest waiting job of one of the kinds to a worker with a free slot.
-- Item: worker, boot, list of kinds. Reply: {lease}; the lease is {} when nothing waits.
return run(function()
    local worker, boot = arg(), arg()
    return {lease_next(list(), worker, boot)}
end, 1)
