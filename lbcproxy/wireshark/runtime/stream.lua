-- What is found of messages in TCP: whose frames begin where, what of them is still to come, and
-- which protocol version the two nodes of a connection have agreed on.

local proto = message.proto
local HEADER = 24
local SHARED = {
  { 1, "by port", 1 }, { 2, "LBRY", 2 }, { 3, "Bitcoin", 3 }, { 4, "Litecoin", 4 },
}
local COLUMN = { lbry = "LBRY", bitcoin = "Bitcoin", litecoin = "Litecoin" }
local comment_field = Field.new("frame.comment")

proto.prefs.bitcoin = Pref.bool(
  "Dissect Bitcoin's networks too", false,
  "Otherwise they are left to Wireshark's own dissector, unless this one is chosen by Decode As."
)
proto.prefs.shared = Pref.enum(
  "Networks that share a magic are", 1,
  "LBRY's and Bitcoin's simnet do, and their signets, and Bitcoin's and Litecoin's regtest.",
  SHARED, false
)

local by_magic, magics, lbry_ports = {}, {}, {}
for _, network in ipairs(data.networks) do
  local magic = network.magic:gsub("%x%x", function(byte)
    return string.char(tonumber(byte, 16))
  end)
  network.bytes = magic
  if not by_magic[magic] then
    by_magic[magic] = {}
    magics[#magics + 1] = magic
  end
  table.insert(by_magic[magic], network)
  if network.family == "lbry" then lbry_ports[network.port] = true end
end

-- Connections by their two ends: `network`; `versions`, by sender the one it named last; `agreed`,
-- in order of time, what both agreed on: `version`, from after the message in frame `at` whose
-- header is the last of `before`. Wireshark's own number of a connection is a field, and fields are
-- not there the first time a packet is looked at. Ports that are used again agree again.
local connections = {}

function proto.init()
  connections = {}
end

local function end_of(address, port)
  return ("%s:%d"):format(tostring(address), port)
end

-- Of the networks with a magic, the one meant; nil if none may be taken.
local function choose(magic, pinfo, chosen)
  local found = by_magic[magic]
  if not found then return nil end
  local network = found[1]
  if #found > 1 then
    network = nil
    for _, each in ipairs(found) do
      local at_port = pinfo.src_port == each.port or pinfo.dst_port == each.port
      local wish = SHARED[proto.prefs.shared][2]
      if wish == "by port" and at_port or wish:lower() == each.family then network = each end
    end
    for _, each in ipairs(found) do
      network = network or each.assumed and each
    end
  end
  if network and network.family == "bitcoin" and not chosen and not proto.prefs.bitcoin then return nil end
  return network
end

-- Whether a magic at a position (from 0) begins a frame: a command has to follow it. Of a frame
-- that a packet begins with, less need be there.
local function is_certain(bytes, position)
  local padded = bytes:sub(position + 5, position + 16)
  if #padded < 12 then return position == 0 end
  return message.command_problem(padded) == nil
end

-- Find where the next frame begins, and of which network; nil if nowhere.
local function find(bytes, position, pinfo, known, chosen)
  local best, whose
  for _, magic in ipairs(known and { known.bytes } or magics) do
    local network = known or choose(magic, pinfo, chosen)
    local at = network and bytes:find(magic, position + 1, true)
    while at and not known and not is_certain(bytes, at - 1) do
      at = bytes:find(magic, at + 1, true)
    end
    if at and (not best or at - 1 < best) then best, whose = at - 1, network end
  end
  return best, whose
end

-- How many of the last bytes may be the beginning of a frame.
local function unsure(bytes, position, known)
  for held = math.min(3, #bytes - position), 1, -1 do
    if bytes:sub(-held) == known.bytes:sub(1, held) then return held end
  end
  return 0
end

-- Which protocol version a message is read with.
local function version_at(connection, frame, pinfo)
  for position = #connection.agreed, 1, -1 do
    local each = connection.agreed[position]
    local is_after = pinfo.number > each.at
      or pinfo.number == each.at and not each.before[frame.bytes:sub(1, HEADER)]
    if is_after then return each.version end
  end
  return frame.network.protocol_version
end

-- Take note of a message when it is met for the first time.
local function follow(connection, frame, pinfo)
  if pinfo.visited then return end
  if connection.frame ~= pinfo.number then connection.frame, connection.before = pinfo.number, {} end
  connection.before[frame.bytes:sub(1, HEADER)] = true
  if frame.command ~= data.version then return end
  local sender = end_of(pinfo.src, pinfo.src_port)
  if connection.versions[sender] or not message.sound(frame) then return end
  -- A negative version is a huge one to lbcd and btcd: they read it as unsigned.
  connection.versions[sender] = Struct.unpack("<I4", frame.payload)
  local lowest, count = math.huge, 0
  for _, version in pairs(connection.versions) do
    lowest, count = math.min(lowest, version), count + 1
  end
  if count == 2 then
    local agreed = { version = lowest, at = pinfo.number, before = connection.before }
    table.insert(connection.agreed, agreed)
    connection.versions, connection.before = {}, {}
  end
end

local function wait(pinfo, position, missing)
  pinfo.desegment_offset = position
  pinfo.desegment_len = missing or DESEGMENT_ONE_MORE_SEGMENT
end

local function say_line(pinfo, words, family)
  pinfo.cols.protocol = COLUMN[family]
  if pinfo.private.lbry then -- the packet ends one message of several packets, and has more
    pinfo.cols.info:append(", " .. words)
  else
    pinfo.cols.info = words
  end
  pinfo.private.lbry = "said"
end

-- The same words one after another are counted.
local function joined(lines)
  local parts, position = {}, 1
  while position <= #lines do
    local last = position
    while lines[last + 1] == lines[position] do
      last = last + 1
    end
    local times = last - position + 1
    parts[#parts + 1] = times > 1 and ("%s \195\151%d"):format(lines[position], times) or lines[position]
    position = last + 1
  end
  return table.concat(parts, ", ")
end

local function comments()
  local found = {}
  for _, each in ipairs({ comment_field() }) do
    if tostring(each.value):find("^#%d+ ") then found[#found + 1] = tostring(each.value) end
  end
  return found
end

-- What is known of the connection, and under which key it is kept.
local function this_connection(pinfo)
  local one, other = end_of(pinfo.src, pinfo.src_port), end_of(pinfo.dst, pinfo.dst_port)
  local key = one < other and one .. " " .. other or other .. " " .. one
  return connections[key], key
end

-- Read a complete frame; return its item, its summary, and its length.
local function whole_frame(tvb, pinfo, tree, connection, bytes, position)
  local frame = message.frame(tvb, position, bytes, connection.network)
  frame.version = connection.network.protocol_version
  follow(connection, frame, pinfo)
  frame.version = version_at(connection, frame, pinfo)
  local item, words = message.show(frame, tree)
  return item, words, HEADER + frame.length
end

local NO_MESSAGE = "no message begins here"
local CUT_OFF = "cut off, or TCP streams are not reassembled (see the preferences of TCP)"
local TOO_LONG = "%s claims %.0f bytes, at most %d allowed"

-- Show the messages of some bytes in order; return how many bytes are ours, nil if none. A frame
-- that is not whole is left until the rest of it is there.
local function dissect(tvb, pinfo, tree, chosen)
  local connection, key = this_connection(pinfo)
  local bytes, position, size = tvb:raw(), 0, tvb:len()
  local can_wait = pinfo.can_desegment > 0
  local lines, last = {}, nil

  local function junk(count, why)
    last, lines[#lines + 1] = message.junk(tvb, position, count, tree, why)
    position = position + count
  end

  while position < size do
    local known = connection and connection.network
    local at, network = find(bytes, position, pinfo, known, chosen)
    if not connection then
      if not at then return nil end
      connection = { network = network, versions = {}, agreed = {}, before = {} }
      connections[key] = connection
    end
    local stop = at or size - (can_wait and unsure(bytes, position, connection.network) or 0)
    if stop > position then junk(stop - position, NO_MESSAGE) end
    if not at then
      if stop < size then wait(pinfo, stop) end
      break
    end
    local left = size - position
    local length = left >= HEADER and Struct.unpack("<I4", bytes, position + 17) or 0
    if length > data.max_payload then
      local command = bytes:sub(position + 5, position + 16):gsub("\0+$", "")
      junk(HEADER, TOO_LONG:format(text.quoted(command), length, data.max_payload))
    elseif left >= HEADER + length then
      local item, words, taken = whole_frame(tvb, pinfo, tree, connection, bytes, position)
      position, last, lines[#lines + 1] = position + taken, item, words
    elseif can_wait then
      wait(pinfo, position, left >= HEADER and HEADER + length - left or nil)
      break
    else
      junk(left, CUT_OFF)
    end
  end
  if last then
    for _, comment in ipairs(comments()) do
      lines[#lines] = lines[#lines] .. message.comment(last, tvb, comment)
    end
    say_line(pinfo, joined(lines), connection.network.family)
  end
  return size
end

local function safely(tvb, pinfo, tree, chosen)
  local ok, result = pcall(dissect, tvb, pinfo, tree, chosen)
  if ok then return result end
  message.say(tree:add(proto, tvb()), tvb(), "lbcproxy's dissector failed: " .. tostring(result))
  return tvb:len()
end

function proto.dissector(tvb, pinfo, tree)
  return safely(tvb, pinfo, tree, not lbry_ports[pinfo.match_uint]) or 0
end

proto:register_heuristic("tcp", function(tvb, pinfo, tree)
  if tvb:len() < 4 or not find(tvb:raw(), 0, pinfo, nil, false) then return false end
  pinfo.conversation = proto
  return safely(tvb, pinfo, tree, false) ~= nil
end)

local ports = DissectorTable.get("tcp.port")
for port in pairs(lbry_ports) do
  ports:add(port, proto)
end
