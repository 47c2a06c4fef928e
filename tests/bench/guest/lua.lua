-- SPDX-License-Identifier: MIT
-- A numeric loop, strings and tables: what LuaJIT compiles, and what it does not. Argument: how often (1).
local rounds = tonumber(arg[1] or 1)
local function sieve(n)
  local t, count = {}, 0
  for i = 2, n do t[i] = true end
  for i = 2, n do
    if t[i] then
      count = count + 1
      for j = i * i, n, i do t[j] = false end
    end
  end
  return count
end
local sum = 0
for i = 1, 1000000 * rounds do sum = (sum * 31 + i) % 1000003 end
local words = {}
for w in (("the quick brown fox jumps over the lazy dog "):rep(60)):gmatch("%a+") do words[#words + 1] = w:upper() end
table.sort(words)
for _ = 2, rounds do sieve(30000) end
print(sum, sieve(30000), #table.concat(words))
