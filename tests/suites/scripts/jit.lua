-- SPDX-License-Identifier: MIT
-- Work for LuaJIT's compiler: traces, side traces, calls, strings, tables, FFI and its callbacks. Prints sums that must be the same
-- in every run. Argument: size.
local n = tonumber(arg[1]) or 1
local bit = require("bit")

local function sieve(limit)
    local composite, count = {}, 0
    for i = 2, limit do
        if not composite[i] then
            count = count + 1
            for k = i * i, limit, i do composite[k] = true end
        end
    end
    return count
end

local function mandelbrot(size)
    local sum = 0
    for y = 0, size - 1 do
        for x = 0, size - 1 do
            local cr, ci, zr, zi, i = 2 * x / size - 1.5, 2 * y / size - 1, 0, 0, 0
            while i < 50 and zr * zr + zi * zi < 4 do
                zr, zi, i = zr * zr - zi * zi + cr, 2 * zr * zi + ci, i + 1
            end
            sum = sum + i
        end
    end
    return sum
end

local function random_walk(steps)
    local seed, sum = 12345, 0
    for i = 1, steps do
        seed = bit.band(seed * 1103515245 + 12345, 0x7fffffff)
        if seed % 7 == 0 then sum = sum + 1
        elseif seed % 5 == 0 then sum = bit.bxor(sum, i)
        elseif seed % 3 == 0 then sum = sum - 2
        else sum = bit.band(sum + seed % 11, 0xffffff) end
    end
    return sum
end

local function words(count)
    local t = {}
    for i = 1, count do t[#t + 1] = string.format("%x", i * 7919 % 65536) end
    table.sort(t)
    return #table.concat(t), t[1], t[#t], select(2, table.concat(t):gsub("[0-9]+", "."))
end

local function fib(i) return i < 2 and i or fib(i - 1) + fib(i - 2) end

local function ffi_work(count)
    local ffi = require("ffi")
    ffi.cdef [[
        typedef struct { double x, y; uint8_t pad[3]; int32_t z; } item;
        void qsort(void *base, size_t n, size_t size, int (*compare)(const int32_t *, const int32_t *));
        size_t strlen(const char *s);
    ]]
    local items, sum = ffi.new("item[?]", count), 0
    for i = 0, count - 1 do items[i].x, items[i].y, items[i].z = i, i * 0.5, -i end
    for i = 0, count - 1 do sum = sum + items[i].x * 2 - items[i].y + items[i].z end
    local numbers = ffi.new("int32_t[?]", 100)
    for i = 0, 99 do numbers[i] = i * 7919 % 101 end
    ffi.C.qsort(numbers, 100, 4, function(a, b) return a[0] - b[0] end)
    for i = 1, 99 do assert(numbers[i - 1] <= numbers[i]) end
    local length = 0
    for i = 1, count do length = length + tonumber(ffi.C.strlen("twelve bytes")) end
    return sum, length
end

print("sieve", sieve(20000 * n))
print("mandelbrot", mandelbrot(48 * n))
print("random walk", random_walk(100000 * n))
print("words", words(2000 * n))
print("fib", fib(18 + n))
print("ffi", ffi_work(5000 * n))
-- Compiled code thrown away and made again.
for i = 1, 5 do
    require("jit").flush()
    print("again", i, random_walk(20000), fib(14))
end
print("compiler", require("jit").status())
