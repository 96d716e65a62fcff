-- wrk: 16 requests at a time on each connection
init = function()
  local r = {}
  for i = 1, 16 do r[i] = wrk.format("GET", "/plaintext") end
  requests = table.concat(r)
end
request = function() return requests end
