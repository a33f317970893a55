#!lua flags=allow-oom
-- The same when memory is full: the dispatcher then says a small keep_events, so that the new take the place of the old and
-- the job can go on to its end.
-- include lib_job.lua
-- include lib.lua
-- include lib_report.lua
