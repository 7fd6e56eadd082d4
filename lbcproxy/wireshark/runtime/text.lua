-- Bytes as text, in the forms that `lbcproxy show` has: hexadecimal, hashes reversed, addresses.
-- `hashes` is the module of that name.

local M = {}
local bits = hashes.bits

local HEX = {}
for byte = 0, 255 do
  HEX[string.char(byte)] = ("%02x"):format(byte)
end

function M.hex(bytes)
  return (bytes:gsub(".", HEX))
end

-- A hash as people write it.
function M.display(bytes)
  return (bytes:reverse():gsub(".", HEX))
end

-- How many bytes the UTF-8 character at a position has; nil if there is none.
local function character(text, position)
  local a, b, c, d = text:byte(position, position + 3)
  local function more(byte, least, most)
    return byte and byte >= (least or 0x80) and byte <= (most or 0xbf)
  end
  if a < 0x80 then return 1 end
  if a >= 0xc2 and a <= 0xdf and more(b) then return 2 end
  if a >= 0xe0 and a <= 0xef and more(b, a == 0xe0 and 0xa0, a == 0xed and 0x9f) and more(c) then
    return 3
  end
  if a >= 0xf0 and a <= 0xf4 and more(b, a == 0xf0 and 0x90, a == 0xf4 and 0x8f) and more(c) and more(d) then
    return 4
  end
  return nil
end

-- Characters that a terminal would act on, or that turn text around, by their bytes.
local function unprintable(each)
  local a, b, c = each:byte(1, 3)
  if #each == 1 then return a < 0x20 or a == 0x7f end
  if #each == 2 then return a == 0xc2 and b < 0xa1 or each == "\194\173" end
  if #each == 3 and a == 0xe2 then
    return b == 0x80 and (c <= 0x8f or c >= 0xa8 and c <= 0xaf) or b == 0x81 and c >= 0x9f
  end
  return each == "\239\187\191"
end

local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- A character as Python escapes it; a byte that is none, as a byte.
local function escaped(each)
  local a, b, c = each:byte(1, 3)
  if ESCAPES[each] then return ESCAPES[each] end
  if #each == 3 then return ("\\u%04x"):format(a % 16 * 4096 + b % 64 * 64 + c % 64) end
  return "\\x" .. HEX[each:sub(-1)] -- of two bytes: none is above U+00AD
end

-- Text that came from the network, fit to be shown.
function M.printable(text)
  if not text:find("[^\32-\126]") then return text end
  local parts, position = {}, 1
  while position <= #text do
    local size = character(text, position)
    local each = text:sub(position, position + (size or 1) - 1)
    if not size or unprintable(each) then each = escaped(each) end
    parts[#parts + 1] = each
    position = position + (size or 1)
  end
  return table.concat(parts)
end

-- Bytes of which each is a character (Latin 1), as UTF-8.
function M.characters(bytes)
  return (bytes:gsub("[\128-\255]", function(byte)
    local code = byte:byte()
    return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64)
  end))
end

-- A command, each byte a character, in quotes as Python has them.
function M.quoted(bytes)
  local quote = bytes:find("'", 1, true) and not bytes:find('"', 1, true) and '"' or "'"
  local inside = bytes:gsub("\\", "\\\\"):gsub("[^\32-\126\161-\172\174-\255]", function(byte)
    return ESCAPES[byte] or "\\x" .. HEX[byte]
  end)
  if quote == "'" then inside = inside:gsub("'", "\\'") end
  return quote .. M.characters(inside) .. quote
end

-- An IPv6 address of 16 bytes; a mapped IPv4 address as such.
function M.ip(bytes)
  if bytes:sub(1, 12) == ("\0"):rep(10) .. "\255\255" then
    return ("%d.%d.%d.%d"):format(bytes:byte(13, 16))
  end
  local groups, best, run = {}, { 0, 1 }, 0
  for position = 1, 8 do
    local high, low = bytes:byte(position * 2 - 1, position * 2)
    groups[position] = ("%x"):format(high * 256 + low)
    run = groups[position] == "0" and run + 1 or 0
    if run > best[2] then best = { position - run + 1, run } end
  end
  if best[1] == 0 then return table.concat(groups, ":") end
  local head = table.concat(groups, ":", 1, best[1] - 1)
  return head .. "::" .. table.concat(groups, ":", best[1] + best[2], 8)
end

local BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

local function base58check(data)
  data = data .. hashes.sha256d(data):sub(1, 4)
  local digits = {}
  for position = 1, #data do
    local carry = data:byte(position)
    for index = 1, #digits do
      carry = carry + digits[index] * 256
      digits[index] = carry % 58
      carry = math.floor(carry / 58)
    end
    while carry > 0 do
      digits[#digits + 1] = carry % 58
      carry = math.floor(carry / 58)
    end
  end
  local text = {}
  for position = #digits, 1, -1 do
    text[#text + 1] = BASE58:sub(digits[position] + 1, digits[position] + 1)
  end
  return ("1"):rep(#data:match("^\0*")) .. table.concat(text)
end

-- The bits of bytes in groups of five, the last filled up with zeros.
local function fives(data)
  local result, held, count = {}, 0, 0
  for position = 1, #data do
    held, count = held * 256 + data:byte(position), count + 8
    while count >= 5 do
      count = count - 5
      result[#result + 1] = math.floor(held / 2 ^ count)
      held = held % 2 ^ count
    end
  end
  if count > 0 then result[#result + 1] = held * 2 ^ (5 - count) end
  return result
end

local BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
local GENERATOR = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 }

local function polymod(values)
  local sum = 1
  for _, value in ipairs(values) do
    local top = math.floor(sum / 2 ^ 25)
    sum = bits.bxor(sum % 2 ^ 25 * 32, value)
    for position = 1, 5 do
      if math.floor(top / 2 ^ (position - 1)) % 2 == 1 then sum = bits.bxor(sum, GENERATOR[position]) end
    end
  end
  return sum
end

-- BIP173 for version 0, BIP350 for others.
local function segwit(prefix, version, program)
  local values = {}
  for position = 1, #prefix do
    values[position] = math.floor(prefix:byte(position) / 32)
  end
  values[#values + 1] = 0
  for position = 1, #prefix do
    values[#values + 1] = prefix:byte(position) % 32
  end
  local data = fives(program)
  table.insert(data, 1, version)
  for _, each in ipairs(data) do
    values[#values + 1] = each
  end
  local known = #values
  for position = 1, 6 do
    values[known + position] = 0
  end
  local sum = bits.bxor(polymod(values), version == 0 and 1 or 0x2bc830a3)
  for position = 5, 0, -1 do
    data[#data + 1] = math.floor(sum / 32 ^ position) % 32
  end
  local text = { prefix, "1" }
  for _, each in ipairs(data) do
    text[#text + 1] = BECH32:sub(math.floor(each) + 1, math.floor(each) + 1)
  end
  return table.concat(text)
end

-- The address of an output's script on a network, or nil; lbcproxy/networks/_output_address.py.
function M.output_address(script, network)
  local size = #script
  local first, second = script:byte(1, 2)
  if size == 25 and script:sub(1, 3) == "\118\169\20" and script:sub(24) == "\136\172" then
    return base58check(string.char(network.pubkey_hash) .. script:sub(4, 23))
  end
  if size == 23 and script:sub(1, 2) == "\169\20" and script:sub(23) == "\135" then
    return base58check(string.char(network.script_hash) .. script:sub(3, 22))
  end
  if (size == 35 or size == 67) and first == size - 2 and script:sub(-1) == "\172" then
    return base58check(string.char(network.pubkey_hash) .. hashes.hash160(script:sub(2, -2)))
  end
  if size < 4 or size > 42 or second ~= size - 2 then return nil end
  if first == 0 then
    return (size == 22 or size == 34) and segwit(network.bech32, 0, script:sub(3)) or nil
  end
  return first >= 0x51 and first <= 0x60 and segwit(network.bech32, first - 0x50, script:sub(3)) or nil
end

local BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

local function base32(data)
  local text = {}
  for _, each in ipairs(fives(data)) do
    text[#text + 1] = BASE32:sub(math.floor(each) + 1, math.floor(each) + 1)
  end
  return table.concat(text)
end

-- An address of `addrv2` by BIP155's network ids, or nil; lbcproxy/wire/addresses.py.
function M.address(network_id, bytes)
  if network_id == 1 and #bytes == 4 then return ("%d.%d.%d.%d"):format(bytes:byte(1, 4)) end
  if (network_id == 2 or network_id == 6 or network_id == 7) and #bytes == 16 then
    local text = M.ip(bytes)
    if not text:find(":", 1, true) then -- here a mapped address stays one of IPv6
      local a, b, c, d = bytes:byte(13, 16)
      return ("::ffff:%x:%x"):format(a * 256 + b, c * 256 + d)
    end
    return text
  end
  if network_id == 3 and #bytes == 10 then return base32(bytes) .. ".onion" end
  if network_id == 4 and #bytes == 32 then
    local sum = hashes.sha3_256(".onion checksum" .. bytes .. "\3"):sub(1, 2)
    return base32(bytes .. sum .. "\3") .. ".onion"
  end
  if network_id == 5 and #bytes == 32 then return base32(bytes) .. ".b32.i2p" end
  return nil
end

return M
