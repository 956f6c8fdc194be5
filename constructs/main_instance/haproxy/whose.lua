-- Asks Synapse whose the token of a request is, through HAProxy's frontend `whose`, which keeps the answer. Here it is not looked at: the
-- request goes on in any case, and haproxy.cfg looks for what was kept. A client waits `patience` milliseconds at most.

local port, path, patience = ...
local URL = "http://127.0.0.1:" .. port .. path
local PAUSE = 5 -- seconds without a question, after one that nobody could answer
local PASSED_ON = {"user-agent", "x-forwarded-for", "x-forwarded-proto", "x-request-id"} -- Synapse writes down where a device was seen

local paused_until = 0

core.register_action("whose", {"http-req"}, function(txn)
    if core.now().sec < paused_until then
        return
    end
    local given, headers = txn.http:req_get_headers(), {authorization = {"Bearer " .. txn:get_var("txn.token")}}
    for _, name in ipairs(PASSED_ON) do
        if given[name] then
            headers[name] = {given[name][0]}
        end
    end
    local status = core.httpclient():get{url = URL, headers = headers, timeout = tonumber(patience)}.status
    if status == 0 or status == 429 or status >= 500 then
        paused_until = core.now().sec + PAUSE
    end
end)
