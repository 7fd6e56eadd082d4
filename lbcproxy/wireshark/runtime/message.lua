-- One frame in Wireshark's tree: its header, its payload by the tables, what is wrong with it.

local M = {}
local proto = Proto("lbry", "LBRY and Bitcoin peer-to-peer protocol (lbcproxy)")
M.proto = proto

local HEADER = 24
local SLOWER = 16 -- how much longer LBRY's proof of work takes than a SHA-256

local function field(name, kind, about)
  return reader.declare({ words = {} }, kind, "lbry." .. name, name, nil, about)
end

local f = {
  network = field("network", ftypes.STRING, "which network's magic that is"),
  magic = field("magic", ftypes.BYTES, "the four bytes that begin every frame"),
  command = field("command", ftypes.STRING, "the name of the message, 12 bytes with padding"),
  length = field("length", ftypes.UINT32, "bytes of payload"),
  checksum = field("checksum", ftypes.BYTES, "the first four bytes of the payload's SHA-256d"),
  version = field("protocol_version", ftypes.UINT32, "what the two nodes agreed on"),
  payload = field("payload", ftypes.BYTES, "a payload that nothing is known of"),
  trailing = field("trailing", ftypes.BYTES, "bytes after the last field"),
  junk = field("junk", ftypes.BYTES, "bytes that are not a message"),
  error = field("error", ftypes.STRING, "what is wrong, in the words of lbcproxy"),
  comment = field("comment", ftypes.STRING, "what lbcproxy wrote down of it"),
  verdict = field("verdict", ftypes.STRING, "what lbcproxy did: drop, rewrite, inject, delay"),
}

local malformed = ProtoExpert.new(
  "lbry.malformed", "Payload that lbcproxy cannot read", expert.group.MALFORMED, expert.severity.ERROR
)
local wrong = ProtoExpert.new(
  "lbry.wrong", "Frame with something wrong", expert.group.PROTOCOL, expert.severity.WARN
)
local decided = ProtoExpert.new(
  "lbry.decided", "Something else passed than came", expert.group.COMMENTS_GROUP, expert.severity.NOTE
)
proto.experts = { malformed, wrong, decided }

proto.prefs.hash_up_to = Pref.uint(
  "Hash payloads of up to (bytes)", 262144,
  "Checksums, block hashes, transaction ids and addresses of longer payloads are left out: "
    .. "Lua hashes some 2 MB a second."
)

-- The commands, each with its reader.
local commands = {}
for name, spec in pairs(data.commands) do
  local path, words = "lbry." .. name, {}
  for position, about in pairs(spec.words) do
    words[path .. "." .. position:gsub("%[%]", "")] = about
  end
  local plan, lists = { words = words }, 0
  local record = data.records[spec.record]
  for _, each in ipairs(record.fields) do
    if each.kind == "list" then lists = lists + 1 end
  end
  commands[name] = {
    spec = spec,
    field = reader.declare(plan, ftypes.NONE, path, name, nil, spec.about),
    read = reader.content_of(plan, spec.record, path .. "."),
    counted = lists == 1 and not record.transaction,
  }
end
M.commands = commands
local dissector -- our own, which is known when all is loaded

local opaque = {}
for _, name in ipairs(data.opaque) do
  opaque[name] = true
end

proto.fields = reader.fields

-- What is wrong with the form of a command, or nil; `padded` are its 12 bytes.
function M.command_problem(padded)
  local name = padded:gsub("\0+$", "")
  if name == "" then return "empty command" end
  if name:find("\0", 1, true) then return "command continues after a NUL" end
  if name:find("[^\32-\126]") then return "command is not printable ASCII" end
  return nil
end

-- Why a payload of this length is refused, or nil; and whether it can be read all the same, since
-- only the version is too low.
local function refusal(name, length, network, version)
  local spec = commands[name] and commands[name].spec
  if not spec then return nil end
  if version < spec.since then
    local words = "needs protocol version %d, %.0f was agreed"
    local state = { rules = network.rules, version = version }
    local most = math.min(cursor.bound(spec.maximum, state), data.max_payload)
    return words:format(spec.since, version), length <= most
  end
  local state = { rules = network.rules, version = version }
  local most = math.min(cursor.bound(spec.maximum, state), data.max_payload)
  if length > most then
    return ("%d bytes, at most %d allowed for %s"):format(length, most, name)
  end
  return nil
end

-- What the header alone shows to be wrong.
local function frame_problem(frame)
  local problem = M.command_problem(frame.padded)
  if not problem and not commands[frame.command] and not opaque[frame.command] then
    problem = "unknown command " .. text.quoted(frame.command)
  end
  if problem then return problem end
  return (refusal(frame.command, frame.length, frame.network, frame.network.protocol_version))
end

-- Read a payload; return what is wrong and where, or nil, and how far it was read.
local function attempt(frame, command, witness, parent)
  local network = frame.network
  local state = cursor.state(frame.payload, frame.tvb, frame.base + HEADER)
  state.rules, state.network, state.witness = network.rules, network, witness
  state.version = frame.version
  state.derive = frame.length <= proto.prefs.hash_up_to
  state.derive_slow = frame.length * SLOWER <= proto.prefs.hash_up_to
  local ok, problem = pcall(command.read, state, parent)
  if ok or type(problem) == "table" and problem.unknown then return nil, state end
  if type(problem) ~= "table" then return "lbcproxy's dissector failed: " .. tostring(problem), state end
  local name, start = cursor.where(state)
  local where = name == "" and "payload" or name
  return ("%s at byte %d: %s"):format(where, start, problem.what), state
end

-- Read a payload as the codec does: with witnesses and, if that fails or leaves bytes over,
-- without, where that takes every byte.
local function decode(frame, command)
  local problem, readable = refusal(frame.command, frame.length, frame.network, frame.version)
  if problem then
    local _, state = nil, nil
    if readable then _, state = attempt(frame, command, true) end
    return "payload at byte 0: " .. problem, state, true
  end
  local state
  problem, state = attempt(frame, command, true)
  if not command.spec.either or not problem and state.position > state.size then
    return problem, state, true
  end
  local base_problem, base_state = attempt(frame, command, false)
  if not base_problem and base_state.position > base_state.size then return nil, base_state, false end
  return problem, state, true
end

local function show_checksum(frame, item)
  local claimed = frame.bytes:sub(21, 24)
  local line = item:add(f.checksum, frame.tvb(frame.base + 20, 4))
  if frame.length > proto.prefs.hash_up_to then
    line:append_text(" [not checked: a long payload]")
    return nil
  end
  local real = hashes.sha256d(frame.payload):sub(1, 4)
  line:append_text(claimed == real and " [correct]" or " [wrong]")
  if claimed == real then return nil end
  return ("checksum is %s, should be %s"):format(text.hex(claimed), text.hex(real))
end

local function show_payload(frame, item, command, witness)
  local tvb, from = frame.tvb, frame.base + HEADER
  if not command then
    if frame.length > 0 then item:add(f.payload, tvb(from, frame.length)) end
    return
  end
  local where = frame.length > 0 and tvb(from, frame.length) or tvb(frame.base, HEADER)
  local branch = item:add(command.field, where)
  if frame.length > 0 and frame.refused then
    branch:add(f.payload, tvb(from, frame.length))
    return
  end
  local again, state = attempt(frame, command, witness, branch)
  if again ~= frame.problem and not frame.early then M.say(branch, tvb(from, 0), tostring(again)) end
  local left = state.size - state.position + 1
  if left > 0 then
    local rest = again and f.payload or f.trailing
    item:add(rest, tvb(from + state.position - 1, left))
  end
end

-- Take a frame out of bytes in which it is whole.
function M.frame(tvb, base, bytes, network)
  local padded = bytes:sub(base + 5, base + 16)
  local length = Struct.unpack("<I4", bytes, base + 17)
  return {
    tvb = tvb, base = base, network = network,
    bytes = bytes:sub(base + 1, base + HEADER + length),
    padded = padded, command = padded:gsub("\0+$", ""), length = length,
    payload = bytes:sub(base + HEADER + 1, base + HEADER + length),
  }
end

-- Whether a frame is one that its checksum proves; only asked of short ones.
function M.sound(frame)
  return frame_problem(frame) == nil
    and hashes.sha256d(frame.payload):sub(1, 4) == frame.bytes:sub(21, 24)
    and decode(frame, commands[frame.command]) == nil
end

local function show_header(frame, tree, words)
  local tvb, base, network = frame.tvb, frame.base, frame.network
  local item = tree:add(proto, tvb(base, HEADER + frame.length))
  item:set_text(("LBRY/Bitcoin message: %s, %d bytes, %s"):format(words, frame.length, network.id))
  item:add(f.magic, tvb(base, 4))
  item:add(f.network, tvb(base, 4), network.id):set_generated()
  item:add(f.command, tvb(base + 4, 12), text.printable(text.characters(frame.command)))
  item:add_le(f.length, tvb(base + 16, 4))
  return item
end

-- Show a frame; return its item and its summary for the line.
function M.show(frame, tree)
  local name = frame.command == "" and "(empty)" or text.printable(text.characters(frame.command))
  local command, problem, state, witness = commands[frame.command], nil, nil, nil
  if command then
    problem, state, witness = decode(frame, command)
    frame.refused, frame.problem = state == nil, problem
    frame.early = frame.version < command.spec.since
  end
  local words = name
  if state and state.listed and command.counted then words = ("%s (%d)"):format(name, state.listed) end
  local item = show_header(frame, tree, words)
  local remark = frame_problem(frame)
  if item:referenced(f.checksum) or item:referenced(f.error) then
    local checksum_problem = show_checksum(frame, item)
    remark = remark or checksum_problem
  end
  item:add(f.version, frame.tvb(frame.base, 0), frame.version):set_generated()
  -- Where nobody looks into the tree, as when a file is opened, nothing is added to it.
  dissector = dissector or Dissector.get("lbry")
  if item:referenced(dissector) then show_payload(frame, item, command, witness) end
  if remark or problem then
    M.say(item, frame.tvb(frame.base, HEADER), remark or problem, not remark and malformed or wrong)
    words = words .. (problem and " [malformed]" or " [wrong]")
  end
  return item, words
end

-- Say what is wrong.
function M.say(item, where, problem, kind)
  item:add(f.error, where, text.printable(problem)):set_generated()
  item:add_proto_expert_info(kind or wrong, text.printable(problem))
end

-- Show bytes that are not a message, and why they are none.
function M.junk(tvb, base, size, tree, why)
  local item = tree:add(proto, tvb(base, size))
  item:set_text(("LBRY/Bitcoin: %d bytes that are not a message"):format(size))
  item:add(f.junk, tvb(base, size))
  M.say(item, tvb(base, size), why)
  return item, ("[%d bytes that are not a message]"):format(size)
end

-- Show what lbcproxy wrote of the last message in a packet; return its summary for the line.
function M.comment(item, tvb, comment)
  item:add(f.comment, tvb(0, 0), text.printable(comment)):set_generated()
  local verdict = comment:match("verdict=(%S+)")
  if not verdict then return "" end
  item:add(f.verdict, tvb(0, 0), text.printable(verdict)):set_generated()
  item:add_proto_expert_info(decided, text.printable(comment))
  return " [" .. text.printable(verdict) .. "]"
end

return M
