-- Payloads read by the tables of the records, in one of two ways: with a tree, to which each field
-- is added, or without, to find out whether all of it can be read and where not.
--
-- A table becomes a function `read(state, parent)` once, when the plugin is loaded; `cursor.lua` says
-- what a state is.
--
-- `data` has the tables; `cursor`, `text`, `derived` and `transactions` are the modules of those names.

local M = {}

-- Wireshark refuses a packet with more than a million lines in its tree.
M.MOST_ITEMS = 600000
M.fields = {}

-- Wireshark's side of a field: its filter name, its type, what its tooltip says.
local function declare(plan, kind, path, label, names, about)
  local base_of = kind == ftypes.BYTES and base.NONE or base.DEC
  if kind == ftypes.STRING or kind == ftypes.NONE or kind == ftypes.BOOLEAN then base_of = nil end
  path = path:gsub("[^%w_.-]", "_") -- a command of somebody's own may have other characters
  local words = about or plan.words[path] or plan.words[path:gsub("%.count$", "")]
  local field = ProtoField.new(label, path, kind, names, base_of, nil, words)
  M.fields[#M.fields + 1] = field
  return field
end

M.declare = declare

local function add(state, parent, field, from, to, ...)
  state.items = state.items + 1
  local item = parent:add(field, cursor.range(state, from, to), ...)
  if state.label then
    item:prepend_text(state.label)
    state.label = nil
  end
  return item
end

M.add = add

-- Add bytes as they are.
function M.bytes(state, parent, field, from, to, label)
  local item = add(state, parent, field, from, to)
  if to < from then item:set_text(label .. ": (empty)") end
end

-- Makers of readers, by kind. A leaf leaves in `from` and `to` where its content is.
local make = {}

local function reader_of(plan, spec, path, label)
  return (make[spec.kind] or make.unknown)(plan, spec, path, label)
end

local INTEGERS = {
  [true] = { ftypes.INT8, ftypes.INT16, nil, ftypes.INT32, nil, nil, nil, ftypes.INT64 },
  [false] = { ftypes.UINT8, ftypes.UINT16, nil, ftypes.UINT32, nil, nil, nil, ftypes.UINT64 },
}

local function bit_names(spec, number)
  local found = {}
  for bit = 0, 63 do
    if number:rshift(bit):band(1):lower() == 1 then
      found[#found + 1] = spec.bits[bit] or ("BIT_%d"):format(bit)
    end
  end
  return #found > 0 and " (" .. table.concat(found, ", ") .. ")" or ""
end

function make.number(plan, spec, path, label)
  local size = spec.size
  local field = declare(plan, INTEGERS[spec.signed][size], path, label, spec.names)
  return function(state, parent)
    cursor.need(state, size)
    local from = state.position
    state.position = from + size
    state.from, state.to = from, from + size - 1
    if not parent then return end
    state.items = state.items + 1
    local where = cursor.range(state, from, from + size - 1)
    local item = spec.big and parent:add(field, where) or parent:add_le(field, where)
    if spec.bits and size == 8 then item:append_text(bit_names(spec, where:le_uint64())) end
    if state.label then
      item:prepend_text(state.label)
      state.label = nil
    end
  end
end

function make.bool(plan, _, path, label)
  local field = declare(plan, ftypes.BOOLEAN, path, label)
  return function(state, parent)
    cursor.need(state, 1)
    local from = state.position
    state.position, state.from, state.to = from + 1, from, from
    if parent then add(state, parent, field, from, from, state.text:byte(from) ~= 0) end
  end
end

function make.compact(plan, spec, path, label)
  local field = declare(plan, ftypes.UINT64, path, label, spec.names)
  return function(state, parent)
    local from = state.position
    local value, position = cursor.compact(state)
    local to = state.position - 1
    state.from, state.to = from, to
    if not parent then return end
    local number = position and to - position == 7 and cursor.long_at(state, position) or UInt64.new(value, 0)
    local item = add(state, parent, field, from, to, number)
    if spec.bits then item:append_text(bit_names(spec, number)) end
  end
end

-- A field of a fixed number of bytes, shown as `shown` makes it.
local function fixed(kind, shown)
  return function(plan, spec, path, label)
    local field = declare(plan, kind, path, label)
    return function(state, parent)
      cursor.need(state, spec.size)
      local from = state.position
      local to = from + spec.size - 1
      state.position, state.from, state.to = to + 1, from, to
      if not parent then return end
      if shown then
        add(state, parent, field, from, to, shown(state.text:sub(from, to)))
      else
        add(state, parent, field, from, to)
      end
    end
  end
end

make.fixed = fixed(ftypes.BYTES)
make.hash = fixed(ftypes.STRING, text.display)
make.ip = fixed(ftypes.STRING, text.ip)

local function counted(kind, shown)
  return function(plan, spec, path, label)
    local field = declare(plan, kind, path .. (spec.hex and "_hex" or ""), label)
    return function(state, parent)
      local size = cursor.count_of(state, spec.most, "bytes")
      cursor.need(state, size)
      local from = state.position
      local to = from + size - 1
      state.position, state.from, state.to = to + 1, from, to
      if not parent then return end
      if shown then
        add(state, parent, field, from, to, shown(state.text:sub(from, to)))
      else
        M.bytes(state, parent, field, from, to, label)
      end
    end
  end
end

make.bytes = counted(ftypes.BYTES)
make.text = counted(ftypes.STRING, text.printable)

-- How many bytes a field always has; nil if that depends on them.
local function size_of(spec)
  if spec.kind == "record" then
    local record, sum = data.records[spec.record], 0
    if record.transaction or derived.of[spec.record] then return nil end
    for _, each in ipairs(record.fields) do
      local size = size_of(each)
      if not size then return nil end
      sum = sum + size
    end
    return sum
  end
  return spec.kind == "bool" and 1 or spec.size
end

function make.list(plan, spec, path, label)
  if spec.hex then path = path .. "_hex" end
  local field = declare(plan, ftypes.UINT64, path .. ".count", label)
  local item_of = reader_of(plan, spec.item, path, label)
  local size = size_of(spec.item)
  local is_record = spec.item.kind == "record" or spec.item.kind == "bare"

  local function elements(state, parent, from, count)
    local tree
    local collect = state.collect
    state.collect = nil
    if state.depth == 1 and not state.listed then state.listed = count end
    if parent then
      tree = add(state, parent, field, from, state.position - 1, UInt64.new(count, 0))
    end
    if not parent and size and size * count <= cursor.left_in(state) then
      state.position = state.position + size * count
      return
    end
    cursor.enter(state, "[]", nil)
    local depth = state.depth
    for index = 0, count - 1 do
      if tree and state.items > M.MOST_ITEMS then
        tree:append_text((", of which %d are shown"):format(index))
        tree = nil
      end
      local name = ("[%d]"):format(index)
      state.names[depth], state.starts[depth] = name, state.position - 1
      if tree then
        if is_record then state.shown = name else state.label = name .. " " end
      end
      local item = item_of(state, tree)
      if collect then collect[index] = item end
    end
    state.label, state.depth = nil, depth - 1
    if tree then tree:set_len(state.position - from) end
  end

  return function(state, parent)
    local from = state.position
    local count = cursor.count_of(state, spec.most, "entries")
    elements(state, parent, from, count)
    state.from, state.to = from, state.position - 1
  end, elements
end

-- Add a line with a record's fields below it.
local function branch(state, parent, field, from, name)
  state.items = state.items + 1
  local last = math.min(from, state.size)
  local item = parent:add(field, state.tvb(state.base + last - 1, state.size >= from and 1 or 0))
  item:set_text(state.shown or name)
  state.shown = nil
  return item
end

M.branch = branch

-- Read the fields of a record that follow one another.
local function all_fields(record, readers, keep)
  return function(state, item)
    local depth, kept = state.depth + 1, keep and {}
    for position, spec in ipairs(record.fields) do
      state.depth, state.names[depth], state.starts[depth] = depth, spec.name, state.position - 1
      state.from = nil
      readers[position](state, item, kept)
      if keep and keep[spec.name] and state.from then
        kept[spec.name] = { state.from, state.to }
      end
    end
    state.depth = depth - 1
    return kept
  end
end

-- Make the reader of a record's content; `prefix` begins the names of its fields.
local function content_of(plan, name, prefix)
  local record, more = data.records[name], derived.of[name]
  local keep, readers, lists = {}, {}, {}
  for position, spec in ipairs(record.fields) do
    readers[position], lists[spec.name] = reader_of(plan, spec, prefix .. spec.name, spec.name)
    if spec.kind == "when" then keep[spec.sibling] = true end
  end
  for _, each in ipairs(more and more.keep or {}) do
    keep[each] = true
  end
  local inside = record.inside
  if inside then keep[inside.field] = true end
  if not next(keep) then keep = nil end
  local read = all_fields(record, readers, keep)
  if record.transaction then
    read = transactions.read(plan, record, readers, lists)
  end
  local show = more and more.plan and more.plan(plan, prefix)
  local show_inside = inside and derived.inside(plan, inside, prefix)
  if not more and not inside then return read end
  return function(state, item)
    local from = state.position
    local kept = read(state, item)
    if more and more.check then more.check(state, kept) end
    if item and show then show(state, item, kept, from, state.position - 1) end
    if item and show_inside then show_inside(state, item, kept) end
  end
end

M.content_of = content_of

function make.record(plan, spec, path, label)
  local field = declare(plan, ftypes.NONE, path, label)
  local read = content_of(plan, spec.record, path .. ".")
  return function(state, parent)
    if not parent then return read(state, nil) end
    local from = state.position
    local item = branch(state, parent, field, from, label)
    read(state, item)
    item:set_len(state.position - from)
    return item
  end
end

function make.since(plan, spec, path, label)
  local read = reader_of(plan, spec.item, path, label)
  return function(state, parent)
    if state.version >= spec.version then read(state, parent) end
  end
end

function make.chain(plan, spec, path, label)
  local read = reader_of(plan, spec.item, path, label)
  return function(state, parent)
    if state.rules[spec.rule] then read(state, parent) end
  end
end

-- All bytes but so many at the end; `size`, if it is given, says how many they are.
function make.rest(plan, spec, path, label)
  local field = declare(plan, ftypes.BYTES, path, label)
  return function(state, parent, _, size)
    if not size then
      cursor.need(state, spec.before + 1)
      size = cursor.left_in(state) - spec.before
    end
    local from = state.position
    state.position = from + size
    state.from, state.to = from, from + size - 1
    if parent then add(state, parent, field, from, from + size - 1) end
  end
end

-- Bytes that only some messages of some chains have. Where they precede other fields, the reader
-- of the record calls for what is in it: the second result.
function make.extension(plan, spec, path, label)
  local read = reader_of(plan, spec.item, path, label)
  return function(state, parent)
    if state.rules[spec.rule] and cursor.left_in(state) > 0 then read(state, parent) end
  end, read
end

function make.when(plan, spec, path, label)
  local read, wanted = reader_of(plan, spec.item, path, label), {}
  for _, each in ipairs(spec.values) do
    wanted[each] = true
  end
  return function(state, parent, kept)
    local sibling = kept and kept[spec.sibling]
    if sibling and wanted[state.text:sub(sibling[1], sibling[2])] then read(state, parent) end
  end
end

function make.tail(plan, spec, path, label)
  local read = reader_of(plan, spec.item, path, label)
  return function(state, parent)
    if cursor.left_in(state) > 0 then read(state, parent) end
  end
end

function make.bare(plan, spec, path, label)
  local read = reader_of(plan, spec.item, path, label)
  return function(state, parent)
    read(state, parent)
    cursor.enter(state, "transaction_count", state.position - 1)
    local count, position = cursor.compact(state)
    if count > 0 then
      local words = cursor.number_text(state, count, position)
      cursor.fail(state, words .. " transactions after a header, none allowed")
    end
    state.depth = state.depth - 1
  end
end

function make.elsewhere(plan, spec, path, label)
  local read = reader_of(plan, spec.item, path, label)
  plan.elsewhere = plan.elsewhere or {}
  plan.elsewhere[#plan.elsewhere + 1] = read
  return function() end
end

-- What the tables cannot tell is shown as it is, to the end.
function make.unknown(plan, _, path, label)
  local field = declare(plan, ftypes.BYTES, path, label)
  return function(state, parent)
    local from = state.position
    state.position = state.size + 1
    if parent then add(state, parent, field, from, state.size) end
    error({ unknown = true }, 0)
  end
end

return M
