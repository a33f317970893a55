#!lua
-- include lib_job.lua
-- include lib.lua
-- include lib_report.lua
