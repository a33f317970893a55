#!lua flags=no-writes
-- include lib_job.lua
-- include lib_show.lua
-- Jobs, newest first, without their large parts. ARGV: state or '', kind or '', only ids below this or 0, most jobs, most
-- records to look at. Reply: {go on below this id or 0, job …}
local state, kind, before, most, budget = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local STATES = {'queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead'}

-- Ids are dense but for what was forgotten, so all jobs need no index: only those between the oldest and the newest exist.
local function candidates()
    if state ~= '' then
        local from = before > 0 and '(' .. ARGV[3] or '+inf'
        return call('ZREVRANGEBYSCORE', 'st:' .. state, from, '-inf', 'LIMIT', 0, budget)
    end
    local oldest = math.huge
    for _, s in ipairs(STATES) do
        oldest = math.min(oldest, tonumber(call('ZRANGE', 'st:' .. s, 0, 0)[1] or math.huge))
    end
    local newest = before > 0 and before - 1 or tonumber(call('GET', 'ids') or 0)
    local ids = {}
    for id = math.min(newest, tonumber(call('GET', 'ids') or 0)), oldest, -1 do
        ids[#ids + 1] = string.format('%.0f', id)
        if #ids == budget then
            break
        end
    end
    return ids
end

local ids = candidates()
local reply = {0}
for i, id in ipairs(ids) do
    local job = load_job(id)
    if job and (kind == '' or job[KIND] == kind) then
        reply[#reply + 1] = show_job(id, job, false)
        if #reply > most then
            return reply
        end
    end
end
if #ids == budget then
    reply[1] = tonumber(ids[#ids])
end
return reply
