-- What is found of messages in TCP: whose frames begin where, what of them is still to come, and
-- which protocol version the two nodes of a connection have agreed on.

local proto = message.proto
local HEADER = 24
local SHARED = { { 1, "by port", 1 }, { 2, "LBRY", 2 }, { 3, "Bitcoin", 3 } }
local stream_field, comment_field = Field.new("tcp.stream"), Field.new("frame.comment")

proto.prefs.bitcoin = Pref.bool(
  "Dissect Bitcoin's networks too", false,
  "Otherwise they are left to Wireshark's own dissector, unless this one is chosen by Decode As."
)
proto.prefs.shared = Pref.enum(
  "Simnet and signet are", 1,
  "LBRY's and Bitcoin's simnet have the same magic, and so have their signets.", SHARED, false
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

-- Connections by TCP stream: `network`; by sender the version it named; and where both had named
-- theirs: `agreed`, from behind the message in frame `at` that is the last of `until_here`.
local streams = {}

function proto.init()
  streams = {}
end

-- Of the networks with a magic, the one meant; nil if none may be taken.
local function choose(magic, pinfo, chosen)
  local found = by_magic[magic]
  if not found then return nil end
  local network = found[1]
  if #found > 1 then
    network = nil
    for _, each in ipairs(found) do
      local by_port = pinfo.src_port == each.port or pinfo.dst_port == each.port
      local wish = proto.prefs.shared
      if wish == 1 and by_port or wish == 2 and each.family == "lbry" or wish == 3 and each.family == "bitcoin" then
        network = each
      end
    end
  end
  if network and network.family == "bitcoin" and not chosen and not proto.prefs.bitcoin then return nil end
  return network
end

-- Whether a magic at a place (from 0) begins a frame: a command has to stand behind it. Of a frame
-- that a packet begins with, less need be there.
local function is_certain(bytes, place)
  local padded = bytes:sub(place + 5, place + 16)
  if #padded < 12 then return place == 0 end
  return message.command_problem(padded) == nil
end

-- Find where the next frame begins, and of which network; nil if nowhere.
local function find(bytes, place, pinfo, known, chosen)
  local best, whose
  for _, magic in ipairs(known and { known.bytes } or magics) do
    local network = known or choose(magic, pinfo, chosen)
    local at = network and bytes:find(magic, place + 1, true)
    while at and not known and not is_certain(bytes, at - 1) do
      at = bytes:find(magic, at + 1, true)
    end
    if at and (not best or at - 1 < best) then best, whose = at - 1, network end
  end
  return best, whose
end

-- How many of the last bytes may be the beginning of a frame.
local function unsure(bytes, place, known)
  for held = math.min(3, #bytes - place), 1, -1 do
    if bytes:sub(-held) == known.bytes:sub(1, held) then return held end
  end
  return 0
end

-- Which protocol version a message is read with.
local function version_at(stream, frame, pinfo)
  local agreed = stream.agreed
  if not agreed or pinfo.number < agreed.at then return frame.network.protocol_version end
  if pinfo.number == agreed.at and agreed.before[frame.bytes:sub(1, HEADER)] then
    return frame.network.protocol_version
  end
  return agreed.version
end

-- Take note of a message when it is met for the first time.
local function follow(stream, frame, pinfo)
  if pinfo.visited or stream.agreed then return end
  if stream.frame ~= pinfo.number then stream.frame, stream.before = pinfo.number, {} end
  stream.before[frame.bytes:sub(1, HEADER)] = true
  if frame.command ~= data.version then return end
  local sender = tostring(pinfo.src) .. " " .. pinfo.src_port
  if stream.versions[sender] or not message.sound(frame) then return end
  -- A negative version is a huge one to lbcd and btcd: they read it as unsigned.
  stream.versions[sender] = Struct.unpack("<I4", frame.payload)
  local lowest, count = math.huge, 0
  for _, version in pairs(stream.versions) do
    lowest, count = math.min(lowest, version), count + 1
  end
  if count == 2 then
    stream.agreed = { version = lowest, at = pinfo.number, before = stream.before }
  end
end

local function wait(pinfo, place, missing)
  pinfo.desegment_offset = place
  pinfo.desegment_len = missing or DESEGMENT_ONE_MORE_SEGMENT
end

local function say_line(pinfo, words, family)
  local column = family == "bitcoin" and "Bitcoin" or "LBRY"
  local more = pinfo.private.lbry_frame == tostring(pinfo.number)
  pinfo.private.lbry_frame = tostring(pinfo.number)
  pinfo.cols.protocol = column
  if more then
    pinfo.cols.info:append(", " .. words)
  else
    pinfo.cols.info = words
  end
end

-- The same words one after another are counted.
local function joined(lines)
  local parts, place = {}, 1
  while place <= #lines do
    local last = place
    while lines[last + 1] == lines[place] do
      last = last + 1
    end
    local times = last - place + 1
    parts[#parts + 1] = times > 1 and ("%s \195\151%d"):format(lines[place], times) or lines[place]
    place = last + 1
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
local function this_stream()
  local number = stream_field()
  local key = number and number.value or "none"
  return streams[key], key
end

-- Read a frame that is whole; gives its item, what is said of it, and how long it is.
local function whole_frame(tvb, pinfo, tree, stream, bytes, place)
  local frame = message.frame(tvb, place, bytes, stream.network)
  frame.version = stream.network.protocol_version
  follow(stream, frame, pinfo)
  frame.version = version_at(stream, frame, pinfo)
  local item, words = message.show(frame, tree)
  return item, words, HEADER + frame.length
end

local NO_MESSAGE = "no message begins here"
local CUT_OFF = "cut off, or TCP streams are not reassembled (see the preferences of TCP)"
local TOO_LONG = "%s claims %.0f bytes, at most %d allowed"

-- Show the messages of some bytes in order; gives how many bytes are ours, nil if none. A frame
-- that is not whole is left until the rest of it is there.
local function dissect(tvb, pinfo, tree, chosen)
  local stream, key = this_stream()
  local bytes, place, size = tvb:raw(), 0, tvb:len()
  local can_wait = pinfo.can_desegment > 0
  local lines, last = {}, nil

  local function junk(count, why)
    last, lines[#lines + 1] = message.junk(tvb, place, count, tree, why)
    place = place + count
  end

  while place < size do
    local known = stream and stream.network
    local at, network = find(bytes, place, pinfo, known, chosen)
    if not stream then
      if not at then return nil end
      stream = { network = network, versions = {} }
      streams[key] = stream
    end
    local stop = at or size - (can_wait and unsure(bytes, place, stream.network) or 0)
    if stop > place then junk(stop - place, NO_MESSAGE) end
    if not at then
      if stop < size then wait(pinfo, stop) end
      break
    end
    local left = size - place
    local length = left >= HEADER and Struct.unpack("<I4", bytes, place + 17) or 0
    if length > data.max_payload then
      local command = bytes:sub(place + 5, place + 16):gsub("\0+$", "")
      junk(HEADER, TOO_LONG:format(text.quoted(command), length, data.max_payload))
    elseif left >= HEADER + length then
      local item, words, taken = whole_frame(tvb, pinfo, tree, stream, bytes, place)
      place, last, lines[#lines + 1] = place + taken, item, words
    elseif can_wait then
      wait(pinfo, place, left >= HEADER and HEADER + length - left or nil)
      break
    else
      junk(left, CUT_OFF)
    end
  end
  if last then
    for _, comment in ipairs(comments()) do
      lines[#lines] = lines[#lines] .. message.comment(last, tvb, comment)
    end
    say_line(pinfo, joined(lines), stream.network.family)
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
