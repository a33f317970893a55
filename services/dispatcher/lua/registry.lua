#!lua flags=no-writes
-- include lib_job.lua
-- include lib_model.lua
-- Versions of data sets (d) or models (m). ARGV: d or m, name or '', version, what: all, newest, promoted (and canaries), or
-- paths (all, without info); most; bytes of infos: what would go beyond has none.
-- With a name, version 0 and newest: of a model the promoted one, else the newest.
-- Reply: {revision, {name, version, path, digest, job, created, info, promoted, revision of its promotion, percent as a text:
-- of the canary} …}
local where, name, version, what, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local left = tonumber(ARGV[6])
local reply = {tonumber(call('GET', 'rev') or 0)}

local function versions_of(key)
    local numbers = {}
    for i, v in ipairs(call('HKEYS', key)) do
        numbers[i] = tonumber(v)
    end
    table.sort(numbers)
    return numbers
end

local function add(of, number, promoted, revision, canary, percent)
    local packed = #reply <= most and call('HGET', where .. ':' .. of, number)
    if packed then
        local record = unpack_value(packed)
        local served, info = number == promoted, record[5]
        if what == 'paths' or #info > left then
            info = ''
        end
        left = left - #info
        reply[#reply + 1] = {of, number, record[1], record[2], record[3], record[4], info, served and 1 or 0,
                             served and revision or 0, not served and number == canary and percent or ''}
    end
end

local names = name ~= '' and {name} or call('HKEYS', where .. 'n')
table.sort(names)
for _, of in ipairs(names) do
    local promoted, revision, canary, percent
    if where == 'm' then
        promoted, revision = promoted_of(of)
        canary, percent = canary_of(of)
        promoted, revision, canary = tonumber(promoted or 0), tonumber(revision or 0), tonumber(canary or 0)
    end
    if version > 0 then
        add(of, version, promoted, revision, canary, percent)
    elseif what == 'promoted' then
        add(of, promoted, promoted, revision, canary, percent)
        if canary ~= promoted then
            add(of, canary, promoted, revision, canary, percent)
        end
    else
        local numbers = versions_of(where .. ':' .. of)
        if what == 'newest' then
            numbers = {name ~= '' and promoted and promoted > 0 and promoted or numbers[#numbers]}
        end
        for i = #numbers, 1, -1 do
            add(of, numbers[i], promoted, revision, canary, percent)
        end
    end
end
return reply
