-- Transactions: the only bytes that are not in the order of their record. With a marker (00)
-- and a flag (01) each input's witness follows the outputs (BIP144). On Litecoin the flag may have bit
-- 08: then MWEB data precede the lock time, one byte 00 or all that there is.

local M = {}

-- Make the reader of a transaction's content, of the readers of its fields; `lists` has those of
-- lists whose count has been read.
function M.read(plan, record, readers, lists)
  local position_of = {}
  for position, spec in ipairs(record.fields) do
    position_of[spec.name] = position
  end
  local most = record.fields[position_of.inputs].most
  local witness_of = plan.elsewhere[#plan.elsewhere]

  local function begin(state, depth, name)
    state.depth, state.names[depth], state.starts[depth] = depth, name, state.position - 1
  end

  local function field(state, depth, name, item)
    begin(state, depth, name)
    readers[position_of[name]](state, item)
  end

  -- Return the number of inputs, where it is, and the flag, 0 if there is none.
  local function input_count(state)
    local from = state.position
    local count, position = cursor.compact(state)
    local flag = 0
    if count == 0 and state.witness then
      cursor.need(state, 1)
      flag = state.text:byte(state.position)
      local mweb = state.rules.mweb and (flag == 8 or flag == 9)
      if flag ~= 1 and not mweb then
        local known = state.rules.mweb and "01, 08 or 09" or "01"
        cursor.fail(state, ("the byte after the witness marker is %02x, not %s"):format(flag, known))
      end
      from = state.position + 1
      state.position = from
      count, position = cursor.compact(state)
    end
    cursor.hold(state, count, position, most, "entries")
    return count, from, flag
  end

  local function witnesses(state, depth, count, items)
    local any = false
    state.names[depth], state.starts[depth] = "inputs", nil
    state.names[depth + 2] = "witness"
    state.starts[depth + 1] = nil
    for index = 0, count - 1 do
      state.depth = depth + 2
      state.names[depth + 1] = ("[%d]"):format(index)
      state.starts[depth + 2] = state.position - 1
      if state.text:byte(state.position) ~= 0 then any = true end
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
    local count, from, flag = input_count(state)
    local flagged = flag % 2 == 1
    local items = item and flagged and {} or nil
    state.collect = items
    lists.inputs(state, item, from, count)
    state.collect = nil
    state.output, state.new_claims = 0, nil
    field(state, depth, "outputs", item)
    local to, any = state.position - 1, false
    if flagged then any = witnesses(state, depth, count, items) end
    local witness_to = state.position - 1
    if flag >= 8 then
      begin(state, depth, "mweb")
      local alone = state.position <= state.size and state.text:byte(state.position) == 0
      lists.mweb(state, item, nil, alone and 1 or nil)
    end
    field(state, depth, "lock_time", item)
    state.depth = depth - 1
    state.base_from, state.base_to, state.has_witness = from, to, any
    state.witness_to, state.flag = witness_to, flag
    state.mweb_only = flag >= 8 and count == 0 and state.output == 0
  end
end

return M
