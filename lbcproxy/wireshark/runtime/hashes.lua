-- Hashes that Wireshark does not offer to Lua: SHA-256, SHA-512, RIPEMD-160, SHA3-256.
-- They take and return strings of raw bytes. SHA-256 does about 1.7 MB/s in Lua 5.2; the others are
-- only ever asked for a few bytes.

local M = {}

local bits = bit32
if not bits then -- Lua 5.3 has operators in its place, which 5.2 cannot even read
  bits = load [[
    local B = {}
    function B.band(a, b) return a & b end
    function B.bor(a, b, c) return a | b | (c or 0) end
    function B.bxor(a, b, c) return a ~ b ~ (c or 0) end
    function B.bnot(a) return ~a & 0xffffffff end
    function B.rshift(a, n) return a >> n end
    function B.lshift(a, n) return (a << n) & 0xffffffff end
    function B.rrotate(a, n) return ((a >> n) | (a << (32 - n))) & 0xffffffff end
    function B.lrotate(a, n) return ((a << n) | (a >> (32 - n))) & 0xffffffff end
    return B
  ]]()
end
M.bits = bits

local band, bor, bxor, bnot = bits.band, bits.bor, bits.bxor, bits.bnot
local rrotate, lrotate, rshift = bits.rrotate, bits.lrotate, bits.rshift
local pack, unpack = Struct.pack, Struct.unpack
local WORD = 4294967296

local function primes(count)
  local found, number = {}, 2
  while #found < count do
    local prime = true
    for _, each in ipairs(found) do
      if number % each == 0 then
        prime = false
        break
      end
    end
    if prime then found[#found + 1] = number end
    number = number + 1
  end
  return found
end

-- The first 32 bits of the fraction.
local function fraction(root)
  return math.floor((root - math.floor(root)) * WORD)
end

local K256, H256 = {}, {}
for position, prime in ipairs(primes(64)) do
  K256[position] = fraction(prime ^ (1 / 3))
  if position <= 8 then H256[position] = fraction(prime ^ 0.5) end
end

local WORDS = ">" .. ("I4"):rep(16)

function M.sha256(text)
  local length = #text
  local high, low = math.floor(length / 2 ^ 29), length * 8 % WORD
  local data = text .. "\128" .. ("\0"):rep((55 - length) % 64) .. pack(">I4I4", high, low)
  local h0, h1, h2, h3, h4, h5, h6, h7 = table.unpack(H256)
  local K, w = K256, {}
  for start = 1, #data, 64 do
    w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14],
      w[15], w[16] = unpack(WORDS, data, start)
    for j = 17, 64 do
      local x, y = w[j - 15], w[j - 2]
      w[j] = (w[j - 16] + bxor(rrotate(x, 7), rrotate(x, 18), rshift(x, 3)) + w[j - 7]
        + bxor(rrotate(y, 17), rrotate(y, 19), rshift(y, 10))) % WORD
    end
    local a, b, c, d, e, f, g, h = h0, h1, h2, h3, h4, h5, h6, h7
    for j = 1, 64 do
      local t1 = h + bxor(rrotate(e, 6), rrotate(e, 11), rrotate(e, 25))
        + bxor(g, band(e, bxor(f, g))) + K[j] + w[j]
      local t2 = bxor(rrotate(a, 2), rrotate(a, 13), rrotate(a, 22))
        + bxor(band(a, bxor(b, c)), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, (d + t1) % WORD, c, b, a, (t1 + t2) % WORD
    end
    h0, h1, h2, h3 = (h0 + a) % WORD, (h1 + b) % WORD, (h2 + c) % WORD, (h3 + d) % WORD
    h4, h5, h6, h7 = (h4 + e) % WORD, (h5 + f) % WORD, (h6 + g) % WORD, (h7 + h) % WORD
  end
  return pack(">I4I4I4I4I4I4I4I4", h0, h1, h2, h3, h4, h5, h6, h7)
end

function M.sha256d(text)
  return M.sha256(M.sha256(text))
end

-- SHA-512 and SHA3 count in 64 bits: Wireshark's UInt64, whose sums wrap round.

local K512 = {}
for each in ([[
  428a2f98d728ae22 7137449123ef65cd b5c0fbcfec4d3b2f e9b5dba58189dbbc 3956c25bf348b538
  59f111f1b605d019 923f82a4af194f9b ab1c5ed5da6d8118 d807aa98a3030242 12835b0145706fbe
  243185be4ee4b28c 550c7dc3d5ffb4e2 72be5d74f27b896f 80deb1fe3b1696b1 9bdc06a725c71235
  c19bf174cf692694 e49b69c19ef14ad2 efbe4786384f25e3 0fc19dc68b8cd5b5 240ca1cc77ac9c65
  2de92c6f592b0275 4a7484aa6ea6e483 5cb0a9dcbd41fbd4 76f988da831153b5 983e5152ee66dfab
  a831c66d2db43210 b00327c898fb213f bf597fc7beef0ee4 c6e00bf33da88fc2 d5a79147930aa725
  06ca6351e003826f 142929670a0e6e70 27b70a8546d22ffc 2e1b21385c26c926 4d2c6dfc5ac42aed
  53380d139d95b3df 650a73548baf63de 766a0abb3c77b2a8 81c2c92e47edaee6 92722c851482353b
  a2bfe8a14cf10364 a81a664bbc423001 c24b8b70d0f89791 c76c51a30654be30 d192e819d6ef5218
  d69906245565a910 f40e35855771202a 106aa07032bbd1b8 19a4c116b8d2d0c8 1e376c085141ab53
  2748774cdf8eeb99 34b0bcb5e19b48a8 391c0cb3c5c95a63 4ed8aa4ae3418acb 5b9cca4f7763e373
  682e6ff3d6b2b8a3 748f82ee5defb2fc 78a5636f43172f60 84c87814a1f0ab72 8cc702081a6439ec
  90befffa23631e28 a4506cebde82bde9 bef9a3f7b2c67915 c67178f2e372532b ca273eceea26619c
  d186b8c721c0c207 eada7dd6cde0eb1e f57d4f7fee6ed178 06f067aa72176fba 0a637dc5a2c898a6
  113f9804bef90dae 1b710b35131c471b 28db77f523047d84 32caab7b40c72493 3c9ebe0a15c9bebc
  431d67c49c100d4c 4cc5d4becb3e42b6 597f299cfc657e2a 5fcb6fab3ad6faec 6c44198c4a475817
]]):gmatch("%x+") do
  K512[#K512 + 1] = UInt64.fromhex(each)
end

local H512 = {}
for each in ([[
  6a09e667f3bcc908 bb67ae8584caa73b 3c6ef372fe94f82b a54ff53a5f1d36f1
  510e527fade682d1 9b05688c2b3e6c1f 1f83d9abfb41bd6b 5be0cd19137e2179
]]):gmatch("%x+") do
  H512[#H512 + 1] = UInt64.fromhex(each)
end

local function long(text, position, order)
  local high, low = unpack(order .. "I4I4", text, position)
  if order == "<" then high, low = low, high end
  return UInt64.new(low, high)
end

local function bytes_of(number, order)
  local high, low = number:higher(), number:lower()
  if order == "<" then high, low = low, high end
  return pack(order .. "I4I4", high, low)
end

function M.sha512(text)
  local length = #text
  local data = text .. "\128" .. ("\0"):rep((111 - length) % 128 + 8) .. pack(">I4I4", 0, length * 8)
  local h = { table.unpack(H512) }
  for start = 1, #data, 128 do
    local w = {}
    for j = 1, 16 do
      w[j] = long(data, start + (j - 1) * 8, ">")
    end
    for j = 17, 80 do
      local x, y = w[j - 15], w[j - 2]
      w[j] = w[j - 16] + x:ror(1):bxor(x:ror(8), x:rshift(7)) + w[j - 7]
        + y:ror(19):bxor(y:ror(61), y:rshift(6))
    end
    local v = { table.unpack(h) }
    for j = 1, 80 do
      local a, e = v[1], v[5]
      local t1 = v[8] + e:ror(14):bxor(e:ror(18), e:ror(41)) + v[7]:bxor(e:band(v[6]:bxor(v[7])))
        + K512[j] + w[j]
      local t2 = a:ror(28):bxor(a:ror(34), a:ror(39)) + a:band(v[2]:bxor(v[3])):bxor(v[2]:band(v[3]))
      v = { t1 + t2, a, v[2], v[3], v[4] + t1, e, v[6], v[7] }
    end
    for j = 1, 8 do
      h[j] = h[j] + v[j]
    end
  end
  local result = {}
  for j = 1, 8 do
    result[j] = bytes_of(h[j], ">")
  end
  return table.concat(result)
end

-- Keccak's round constants and rotations are computed as its authors do.
local ROUND, ROTATION, TARGET = {}, {}, {}
do
  local register = 1
  for round = 1, 24 do
    local constant = UInt64.new(0, 0)
    for j = 0, 6 do
      if register % 2 == 1 then
        local position = 2 ^ j - 1
        constant = constant:bxor(UInt64.new(1, 0):lshift(position))
      end
      register = register * 2
      if register >= 256 then register = bxor(register - 256, 0x71) end
    end
    ROUND[round] = constant
  end
  local x, y = 1, 0
  for t = 0, 23 do
    x, y = y, (2 * x + 3 * y) % 5
    TARGET[t], ROTATION[t] = x + 5 * y, (t + 1) * (t + 2) / 2 % 64
  end
end

local function keccak(lanes)
  for round = 1, 24 do
    local column = {}
    for x = 0, 4 do
      column[x] = lanes[x]:bxor(lanes[x + 5], lanes[x + 10], lanes[x + 15], lanes[x + 20])
    end
    for x = 0, 4 do
      local change = column[(x + 4) % 5]:bxor(column[(x + 1) % 5]:rol(1))
      for y = 0, 20, 5 do
        lanes[x + y] = lanes[x + y]:bxor(change)
      end
    end
    local moved = lanes[1]
    for t = 0, 23 do
      local target = TARGET[t]
      lanes[target], moved = moved:rol(ROTATION[t]), lanes[target]
    end
    for y = 0, 20, 5 do
      local row = {}
      for x = 0, 4 do
        row[x] = lanes[x + y]
      end
      for x = 0, 4 do
        lanes[x + y] = row[x]:bxor(row[(x + 1) % 5]:bnot():band(row[(x + 2) % 5]))
      end
    end
    lanes[0] = lanes[0]:bxor(ROUND[round])
  end
end

-- For texts of less than 136 bytes, which is one block.
function M.sha3_256(text)
  local data = text .. "\6" .. ("\0"):rep(134 - #text) .. "\128"
  if #text == 135 then data = text .. "\134" end
  local lanes = {}
  for lane = 0, 24 do
    lanes[lane] = lane < 17 and long(data, lane * 8 + 1, "<") or UInt64.new(0, 0)
  end
  keccak(lanes)
  local result = {}
  for lane = 0, 3 do
    result[lane + 1] = bytes_of(lanes[lane], "<")
  end
  return table.concat(result)
end

-- RIPEMD-160: two lines of 80 steps; which word and how far is rotated, by step.
local function numbers(text)
  local found = {}
  for each in text:gmatch("%x") do
    found[#found + 1] = tonumber(each, 16)
  end
  return found
end

local LEFT_WORD = numbers [[
  0123456789abcdef 74d1a6f3c0952eb8 3ae49f812706db5c 19ba08c4d37fe562 40597c2ae138b6fd
]]
local RIGHT_WORD = numbers [[
  5e7092b4d6f81a3c 6b370d5aef8c4912 f5137e69b8c2a04d 86413bf05c2d97ae cfa4158762de039b
]]
local LEFT_TURN = numbers [[
  befc5879bdef6798 768db97f7cf9b7dc bd67e9dfe8d65c75 bcefef989e56865c 9f5b68dc5cdeb856
]]
local RIGHT_TURN = numbers [[
  899bdff5778beec6 9df7c89b77c76fdb 97fb866ecd5edd75 f58bee6e69c9c5f8 85c9c5e68d65fdbb
]]
local LEFT_K = { 0, 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xa953fd4e }
local RIGHT_K = { 0x50a28be6, 0x5c4dd124, 0x6d703ef3, 0x7a6d76e9, 0 }
local MIX = {
  function(x, y, z) return bxor(x, y, z) end,
  function(x, y, z) return bor(band(x, y), band(bnot(x), z)) end,
  function(x, y, z) return bxor(bor(x, bnot(y)), z) end,
  function(x, y, z) return bor(band(x, z), band(y, bnot(z))) end,
  function(x, y, z) return bxor(x, bor(y, bnot(z))) end,
}

local function line(h, w, word, turn, constants, mixes)
  local a, b, c, d, e = table.unpack(h)
  for j = 1, 80 do
    local round = math.floor((j - 1) / 16) + 1
    local sum = a + mixes(round)(b, c, d) + w[word[j] + 1] + constants[round]
    a, e, d, c, b = e, d, lrotate(c, 10), b, (lrotate(sum % WORD, turn[j]) + e) % WORD
  end
  return a, b, c, d, e
end

function M.ripemd160(text)
  local length = #text
  local data = text .. "\128" .. ("\0"):rep((55 - length) % 64) .. pack("<I4I4", length * 8, 0)
  local h = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }
  for start = 1, #data, 64 do
    local w = { unpack("<" .. ("I4"):rep(16), data, start) }
    local a, b, c, d, e = line(h, w, LEFT_WORD, LEFT_TURN, LEFT_K, function(round)
      return MIX[round]
    end)
    local f, g, i, j, k = line(h, w, RIGHT_WORD, RIGHT_TURN, RIGHT_K, function(round)
      return MIX[6 - round]
    end)
    h = { h[2] + c + j, h[3] + d + k, h[4] + e + f, h[5] + a + g, h[1] + b + i }
    for position = 1, 5 do
      h[position] = h[position] % WORD
    end
  end
  return pack("<I4I4I4I4I4", table.unpack(h))
end

function M.hash160(text)
  return M.ripemd160(M.sha256(text))
end

-- LBRY's proof of work; see `lbry_pow_hash` in lbcproxy/wire/hashes.py.
function M.lbry_pow(header)
  local wide = M.sha512(M.sha256d(header))
  return M.sha256d(M.ripemd160(wide:sub(1, 32)) .. M.ripemd160(wide:sub(33)))
end

return M
