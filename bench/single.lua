-- One event a request. Arguments: prefix of ids, identity kind (fresh | hot), number of types.
local key, prefix, kind, types = os.getenv("BENCH_KEY"), os.getenv("BENCH_PREFIX"), os.getenv("BENCH_IDENTITY"), tonumber(os.getenv("BENCH_TYPES") or "0")
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init()
  counter = 0
  wrk.method = "POST"
  wrk.headers["Authorization"] = "Bearer " .. key
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  counter = counter + 1
  local n = id .. "_" .. counter
  -- Every fifth event brings a new person, as in a shop with regular customers.
  local person = kind == "hot" and "hot" or (prefix .. id .. "_" .. math.floor(counter / 5))
  local event_type, properties = "purchase_completed",
    '"order_id":"order_' .. n .. '","amount":120.50,"currency":"USD","store_id":"store_42"'
  if types > 0 then
    local t = counter % types
    event_type = "bench_type_" .. t
    properties = '"prop_0":"text","prop_1":12.5,"prop_2":7,"prop_3":true'
  end
  return wrk.format(nil, "/v1/cdp/events", nil,
    '{"source":"brand.pos","externalEventId":"' .. prefix .. n ..
    '","eventType":"' .. event_type .. '","occurredAt":"2026-05-20T12:45:00Z",' ..
    '"identity":{"externalUserId":"L-' .. person .. '","email":"' .. person .. '@example.com"},' ..
    '"properties":{' .. properties .. '}}')
end

function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %.3f %.3f %.3f %d\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000, summary.bytes))
end
