-- Asks the key vault whether an officer may make a request, in the manner of nginx's auth_request: 204 is yes, anything else no.
-- The tokens are read once, as HAProxy starts: they are files, and in no configuration.

local function read(name)
    local file = assert(io.open("/secrets/li-proxy/" .. name, "r"))
    local text = assert(file:read("a"))
    file:close()
    return (text:gsub("%s+$", ""))
end

local access_token, proxy_token = read("access_token"), read("proxy_token")

core.register_fetches("proxy_token", function()
    return proxy_token
end)

core.register_action("ask_vault", { "http-req" }, function(txn)
    local headers = {
        ["authorization"] = { "Bearer " .. access_token },
        ["x-original-method"] = { txn.sf:method() },
        ["x-original-uri"] = { txn.sf:url() },
        ["x-auth-request-user"] = { txn:get_var("txn.officer") or "" },
    }
    local answer = core.httpclient():get({ url = "http://127.0.0.1:8010/v1/access", headers = headers, timeout = 15000 })
    txn:set_var("txn.verdict", answer and answer.status or 0)
end, 0)
