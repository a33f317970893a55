#!lua flags=no-writes
-- include lib_job.lua
-- Versions of data sets (d) or models (m). ARGV: d or m, name or '', version, what: all, newest, promoted, or
-- paths (all, without info); most; bytes of infos: what would go beyond has none.
-- With a name, version 0 and newest: of a model the promoted one, else the newest.
-- Reply: {revision, {name, version, path, digest, job, created, info, promoted, revision of its promotion} …}
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

local function add(of, number, promoted, revision)
    local packed = #reply <= most and call('HGET', where .. ':' .. of, number)
    if packed then
        local record = unpack_value(packed)
        local served, info = number == promoted, record[5]
        if what == 'paths' or #info > left then
            info = ''
        end
        left = left - #info
        reply[#reply + 1] = {of, number, record[1], record[2], record[3], record[4], info, served and 1 or 0,
                             served and revision or 0}
    end
end

local names = name ~= '' and {name} or call('HKEYS', where .. 'n')
table.sort(names)
for _, of in ipairs(names) do
    local promoted, revision = string.match(where == 'm' and call('HGET', 'mp', of) or '', '^(%d+):(%d+)$')
    promoted, revision = tonumber(promoted), tonumber(revision)
    if version > 0 then
        add(of, version, promoted, revision)
    elseif what == 'promoted' then
        add(of, promoted or 0, promoted, revision)
    else
        local numbers = versions_of(where .. ':' .. of)
        if what == 'newest' then
            numbers = {name ~= '' and promoted or numbers[#numbers]}
        end
        for i = #numbers, 1, -1 do
            add(of, numbers[i], promoted, revision)
        end
    end
end
return reply
