-- A reading of one payload: where it is, what is left, and how it refuses.
--
-- A state has `text`, the bytes, `position`, the next one (from 1), and `size`, how many; `tvb` and
-- `base`, where they lie for Wireshark; `rules`, `version`, `witness`, what they are read under;
-- `names` and `starts`, `depth` deep, where among the fields we are. A refusal is an error with a
-- table: what is wrong, in the words of `lbcproxy show`.

local M = {}

-- Refuse what is read.
function M.fail(_, what)
  error({ what = what }, 0)
end

local fail = M.fail

-- Begin to read bytes that lie at `base` of `tvb`.
function M.state(bytes, tvb, base)
  return {
    text = bytes, size = #bytes, position = 1, tvb = tvb, base = base,
    names = {}, starts = {}, depth = 0, items = 0,
  }
end

-- Where a refusal happened, as people write it, and at which byte.
function M.where(state)
  local name, start = "", 0
  for depth = 1, state.depth do
    local each = state.names[depth]
    local joint = (depth == 1 or each:sub(1, 1) == "[") and "" or "."
    name = name .. joint .. each
    start = state.starts[depth] or start
  end
  return name, start
end

-- Go one field deeper, to one that begins at a byte; without `start` its position is that around it.
function M.enter(state, name, start)
  local depth = state.depth + 1
  state.depth, state.names[depth], state.starts[depth] = depth, name, start
end

local function short(state, wanted, left)
  fail(state, ("%d bytes needed, %d left"):format(wanted, left))
end

function M.left_in(state)
  return state.size - state.position + 1
end

function M.need(state, count)
  local left = M.left_in(state)
  if left < count then short(state, count, left) end
end

function M.range(state, from, to)
  return state.tvb(state.base + from - 1, to - from + 1)
end

function M.long_at(state, position)
  local low, high = Struct.unpack("<I4I4", state.text, position)
  return UInt64.new(low, high)
end

-- A count that was read at a position, exactly: numbers of Lua 5.2 end at 2^53.
function M.number_text(state, value, position)
  return value < 2 ^ 53 and ("%.0f"):format(value) or tostring(M.long_at(state, position))
end

-- Read a CompactSize.
function M.compact(state)
  local position = state.position
  local first = state.text:byte(position)
  if not first or position > state.size then short(state, 1, 0) end
  if first < 0xfd then
    state.position = position + 1
    return first
  end
  local size = first == 0xfd and 2 or first == 0xfe and 4 or 8
  local left = state.size - position
  if left < size then short(state, size, left) end
  local a, b, c, d, e, f, g, h = state.text:byte(position + 1, position + size)
  local value, least = a + b * 256, 0xfd
  if size > 2 then value, least = value + c * 65536 + d * 16777216, 65536 end
  if size > 4 then
    value, least = value + (e + f * 256 + g * 65536 + h * 16777216) * 4294967296, 4294967296
  end
  if value < least then
    fail(state, ("CompactSize %.0f takes %d bytes, not the shortest form"):format(value, size + 1))
  end
  state.position = position + size + 1
  return value, position + 1
end

-- Read a CompactSize at another position.
function M.peek(state, position)
  local before = state.position
  state.position = position
  local value, at = M.compact(state)
  state.position = before
  return value, at
end

-- The number that a limit means.
function M.bound(limit, state)
  if type(limit) == "number" then return limit end
  if limit.chain then return state.rules[limit.chain] end
  local most = 0
  for _, step in ipairs(limit.steps) do
    if step[1] <= state.version then most = step[2] end
  end
  return most
end

-- Check a count, read at a position, against its limit.
function M.hold(state, count, position, limit, unit)
  local most = M.bound(limit, state)
  if count > most then
    fail(state, ("%s %s, at most %d allowed"):format(M.number_text(state, count, position), unit, most))
  end
end

function M.count_of(state, limit, unit)
  local count, position = M.compact(state)
  M.hold(state, count, position, limit, unit)
  return count
end

return M
