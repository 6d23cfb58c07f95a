-- HAProxy asks keybound about each request: http-request lua.keybound. It runs in HAProxy 2.6 and later, which has httpclient.
--
-- Every value of a field is sent on, not the first alone: keybound must see that there are two proofs.

local DECISIONS = "http://127.0.0.1:8082/decision"

local SENT = {
    "authorization", "dpop", "origin", "access-control-request-method", "content-type",
}

local IDENTITY = {
    "keybound-subject", "keybound-client", "keybound-scope", "keybound-jkt", "keybound-issuer",
    "keybound-attestation",
}

-- HAProxy numbers the values of a field from 0, and Lua from 1.
local function list(values)
    local copy = {}
    local at = 0
    while values and values[at] do
        copy[#copy + 1] = values[at]
        at = at + 1
    end
    return copy
end

local function question(txn)
    local fields = txn.http:req_get_headers()
    local sent = {
        -- Set here and nowhere else: what the client says under these names is not sent.
        ["x-forwarded-method"] = { txn.f:method() },
        -- As the client sent it, without scheme and host if it sent those.
        ["x-forwarded-uri"] = { txn.f:pathq() },
        -- Counts where keybound has several origins.
        ["x-forwarded-host"] = list(fields["host"]),
    }
    for _, name in ipairs(SENT) do
        local values = list(fields[name])
        if #values > 0 then
            sent[name] = values
        end
    end
    return sent
end

-- The answer of keybound, as the client is to have it.
local function refuse(txn, answer)
    local fields = {}
    for name, values in pairs(answer.headers or {}) do
        if name ~= "connection" and name ~= "content-length" and name ~= "transfer-encoding" then
            fields[name] = list(values)
        end
    end
    txn:done(txn:reply({ status = answer.status, headers = fields, body = answer.body or "" }))
end

core.register_action("keybound", { "http-req" }, function(txn)
    local answer = core.httpclient():get({ url = DECISIONS, headers = question(txn) })
    if answer.status ~= 200 then
        -- Without an answer it is 503.
        if not answer.status or answer.status < 200 then
            answer = { status = 503 }
        end
        return refuse(txn, answer)
    end
    for _, name in ipairs(IDENTITY) do
        local value = list(answer.headers[name])[1]
        if value then
            txn.http:req_set_header(name, value)
        end
    end
    -- keybound names the issuer of every token that it vouches for; the app needs neither token nor proof then.
    if answer.headers["keybound-issuer"] then
        txn.http:req_del_header("authorization")
        txn.http:req_del_header("dpop")
        txn:set_var("txn.keybound_vouched", true)
    end
    local nonce = list(answer.headers["dpop-nonce"])[1]
    if nonce then
        txn:set_var("txn.keybound_nonce", nonce)
    end
end)
