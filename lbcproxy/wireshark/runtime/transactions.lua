-- Transactions: the only bytes that do not stand in the order of their record. With a marker (00)
-- and a flag (01) each input's witness follows the outputs (BIP144).

local M = {}

-- Make the reader of a transaction's content, of the readers of its fields; `lists` has those of
-- lists whose count has been read.
function M.read(plan, record, readers, lists)
  local place_of = {}
  for place, spec in ipairs(record.fields) do
    place_of[spec.name] = place
  end
  local most = record.fields[place_of.inputs].most
  local witness_of = plan.elsewhere[#plan.elsewhere]

  local function begin(state, depth, name)
    state.depth, state.names[depth], state.starts[depth] = depth, name, state.place - 1
  end

  local function field(state, depth, name, item)
    begin(state, depth, name)
    readers[place_of[name]](state, item)
  end

  -- Give the number of inputs, where it stands, and whether witnesses follow.
  local function input_count(state)
    local from = state.place
    local count, place = cursor.compact(state)
    local flagged = count == 0 and state.witness
    if flagged then
      local flag = state.place <= state.size and state.text:byte(state.place)
      if not flag then cursor.fail(state, "1 bytes needed, 0 left") end
      if flag ~= 1 then
        cursor.fail(state, ("the byte behind the witness marker is %02x, not 01"):format(flag))
      end
      from = state.place + 1
      state.place = from
      count, place = cursor.compact(state)
    end
    cursor.hold(state, count, place, most, "entries")
    return count, from, flagged
  end

  local function witnesses(state, depth, count, items)
    local any = false
    state.names[depth], state.starts[depth] = "inputs", nil
    state.names[depth + 2] = "witness"
    state.starts[depth + 1] = nil
    for index = 0, count - 1 do
      state.depth = depth + 2
      state.names[depth + 1] = ("[%d]"):format(index)
      state.starts[depth + 2] = state.place - 1
      if state.text:byte(state.place) ~= 0 then any = true end
      witness_of(state, items and items[index])
    end
    state.depth = depth
    if not any and not state.rules.superfluous_witness then
      cursor.fail(state, "the witness flag is set but no input has a witness")
    end
    return any
  end

  return function(state, item)
    local depth = state.depth + 1
    field(state, depth, "version", item)
    begin(state, depth, "inputs")
    local count, from, flagged = input_count(state)
    local items = item and flagged and {} or nil
    state.collect = items
    lists.inputs(state, item, from, count)
    state.collect = nil
    state.output, state.new_claims = 0, nil
    field(state, depth, "outputs", item)
    local to, any = state.place - 1, false
    if flagged then any = witnesses(state, depth, count, items) end
    field(state, depth, "lock_time", item)
    state.depth = depth - 1
    state.base_from, state.base_to, state.has_witness = from, to, any
  end
end

return M
