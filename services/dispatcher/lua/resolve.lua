#!lua flags=no-writes
-- include lib_job.lua
-- include lib_model.lua
-- Which versions do a job's references mean now? ARGV: idempotency key of the submit, digest of what came with it, triples of
-- d or m, name, version (0: the newest, of a model the promoted one).
-- Reply: {id of the job with that key or '', versions of data sets kept, of models, {version or 0 …}, {versions that exist,
-- joined …}, 1 if the job with that key was submitted with the same}
local versions, known = {}, {}
for i = 3, #ARGV, 3 do
    local where, name, version = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local key, found = where .. ':' .. name, 0
    if version > 0 then
        found = call('HEXISTS', key, version) == 1 and version or 0
    else
        found = where == 'm' and tonumber(promoted_of(name) or 0) or 0
        for _, v in ipairs(found == 0 and call('HKEYS', key) or {}) do
            found = math.max(found, tonumber(v))
        end
    end
    versions[#versions + 1] = found
    local newest = {}
    for _, v in ipairs(call('HKEYS', key)) do
        newest[#newest + 1] = tonumber(v)
    end
    table.sort(newest)
    known[#known + 1] = table.concat(newest, ', ')
end
local id, same = keyed_job(ARGV[1], ARGV[2])
return {id, tonumber(call('GET', 'dc') or 0), tonumber(call('GET', 'mc') or 0), versions, known, same and 1 or 0}
