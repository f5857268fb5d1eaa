-- Batches of BENCH_BATCH events a request; people as in single.lua. With BENCH_SPREAD amounts and
-- stores differ from event to event.
local key, prefix, size, types = os.getenv("BENCH_KEY"), os.getenv("BENCH_PREFIX"), tonumber(os.getenv("BENCH_BATCH")), tonumber(os.getenv("BENCH_TYPES") or "0")
local spread = os.getenv("BENCH_SPREAD") == "1"
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
  local items = {}
  for i = 1, size do
    counter = counter + 1
    local n = id .. "_" .. counter
    local person = prefix .. id .. "_" .. math.floor(counter / 5)
    local event_type, properties = "purchase_completed",
      '"order_id":"order_' .. n .. '","amount":120.50,"currency":"USD","store_id":"store_42"'
    if spread then
      properties = string.format('"order_id":"order_%s","amount":%.2f,"currency":"USD","store_id":"store_%d"',
        n, (counter * 7919 % 50000) / 100, counter * 104729 % 2000)
    end
    if types > 0 then
      event_type = "bench_type_" .. (counter % types)
      properties = '"prop_0":"text","prop_1":12.5,"prop_2":7,"prop_3":true'
    end
    items[i] = '{"source":"brand.pos","externalEventId":"' .. prefix .. n ..
      '","eventType":"' .. event_type .. '","occurredAt":"2026-05-20T12:45:00Z",' ..
      '"identity":{"externalUserId":"L-' .. person .. '","email":"' .. person .. '@example.com"},' ..
      '"properties":{' .. properties .. '}}'
  end
  return wrk.format(nil, "/v1/cdp/events/batch", nil, '{"items":[' .. table.concat(items, ",") .. ']}')
end

function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %.3f %.3f %.3f %d\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000, summary.bytes))
end
