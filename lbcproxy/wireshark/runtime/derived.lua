-- What follows from a record's bytes without being among them (ids, claims, addresses), and what no
-- single field can see to be wrong: `derived` and `check` of the records in Python.
--
-- `of` has by record: `keep`, the fields whose bytes are wanted; `check(state, kept)`, which
-- refuses; `plan(plan, prefix)`, which declares fields and returns what shows them.

local M = { of = {} }
local of = M.of
local STRING, BYTES = ftypes.STRING, ftypes.BYTES

local function content(state, position)
  return state.text:sub(position[1], position[2])
end

local function number(state, position)
  local value = 0
  for at = position[2], position[1], -1 do
    value = value * 256 + state.text:byte(at)
  end
  return value
end

local function made(state, item, field, from, to, ...)
  reader.add(state, item, field, from, to, ...):set_generated()
end

of.BlockHeader = {
  plan = function(plan, prefix)
    local about = "SHA-256d of the header, shown reversed"
    local hash = reader.declare(plan, STRING, prefix .. "hash", "hash", nil, about)
    about = "LBRY's proof-of-work hash of the header, shown reversed"
    local pow_hash = reader.declare(plan, STRING, prefix .. "pow_hash", "pow_hash", nil, about)
    return function(state, item, _, from, to)
      if not state.derive then return end
      local header = state.text:sub(from, to)
      if item:referenced(hash) then
        made(state, item, hash, from, to, text.display(hashes.sha256d(header)))
      end
      if state.rules.claim_trie and state.derive_slow and item:referenced(pow_hash) then
        made(state, item, pow_hash, from, to, text.display(hashes.lbry_pow(header)))
      end
    end
  end,
}

-- Claims, as lbcproxy/wire/claims.py reads them.

local KINDS = { [0xb5] = "claim", [0xb6] = "support", [0xb7] = "update" }
local DROP, DROP2 = 0x75, 0x6d
local CLAIM_ID_SIZE, MAX_NAME_SIZE, MAX_CLAIM_SIZE = 20, 255, 8192

-- The token of a script at a position: its opcode, the bytes that it pushes (none unless it is a push
-- of data), where they begin, and where the next token begins. Nothing at the end or at a push that
-- is longer than what is left.
local function token_at(script, position)
  local opcode = script:byte(position)
  if not opcode then return nil end
  local from, size = position + 1, 0
  if opcode < 0x4c then
    size = opcode
  elseif opcode <= 0x4e then
    from = from + 2 ^ (opcode - 0x4c)
    for at = math.min(from - 1, #script), position + 1, -1 do
      size = size * 256 + script:byte(at)
    end
  end
  if from + size - 1 > #script then return nil end
  return { opcode = opcode, data = script:sub(from, from + size - 1), from = from, next = from + size }
end

local function tokens_of(script, position, most)
  local found = {}
  while #found < most do
    local token = token_at(script, position)
    if not token then break end
    found[#found + 1], position = token, token.next
  end
  return found
end

local function claim_of(script)
  local kind = KINDS[script:byte(1) or 0]
  if not kind then return nil end
  local tokens = tokens_of(script, 2, 5)
  local bare = kind == "support" and tokens[3] and tokens[3].opcode == DROP2
  local count = (kind == "claim" or bare) and 2 or 3
  local drop, last = tokens[count + 1], tokens[count + 2]
  if not last or drop.opcode ~= DROP2 then return nil end
  if last.opcode ~= (count == 2 and DROP or DROP2) then return nil end
  local name, claim_id = tokens[1].data, kind ~= "claim" and tokens[2].data or nil
  if claim_id and #claim_id ~= CLAIM_ID_SIZE then return nil end
  if #name > MAX_NAME_SIZE or last.next - 1 > MAX_CLAIM_SIZE then return nil end
  local value = not bare and tokens[count] or nil
  if kind == "support" and value and #value.data == 0 then return nil end
  return {
    kind = kind,
    name = name,
    claim_id = claim_id,
    value = value and value.data,
    value_at = value and value.from,
    script = script:sub(last.next),
  }
end

of.TxOut = {
  keep = { "script_pubkey" },
  plan = function(plan, prefix)
    local function field(name, kind, about)
      return reader.declare(plan, kind, prefix .. name, name:match("[^.]*$"), nil, about)
    end
    local address = field("address", STRING, "the script as wallets write it")
    local claim_field = field("claim", ftypes.NONE, "what the script says of LBRY's names")
    local kind = field("claim.kind", STRING, "claim, support or update")
    local name = field("claim.name", STRING, "the name that is claimed")
    local claim_id = field("claim.claim_id", STRING, "20 bytes, shown reversed")
    local value = field("claim.value", BYTES, "what the name refers to")

    local function show_claim(state, item, claim, from, to)
      local tree = reader.branch(state, item, claim_field, from, "claim")
      tree:set_len(to - from + 1)
      made(state, tree, kind, from, to, claim.kind)
      made(state, tree, name, from, to, text.printable(claim.name))
      tree:append_text((': %s "%s"'):format(claim.kind, text.printable(claim.name:sub(1, 80))))
      if claim.claim_id then
        made(state, tree, claim_id, from, to, text.display(claim.claim_id))
      else -- its id follows from the transaction's, which is not known yet
        state.new_claims = state.new_claims or {}
        table.insert(state.new_claims, { state.output, tree, claim_id, from, to })
      end
      if claim.value then
        local begin = from + claim.value_at - 1
        reader.bytes(state, tree, value, begin, begin + #claim.value - 1, "value")
      end
    end

    return function(state, item, kept)
      local from, to = kept.script_pubkey[1], kept.script_pubkey[2]
      local script = content(state, kept.script_pubkey)
      local claim = claim_of(script)
      if claim and state.rules.claim_trie then show_claim(state, item, claim, from, to) end
      state.output = state.output + 1
      if not state.derive or not item:referenced(address) then return end
      local written = text.output_address(claim and claim.script or script, state.network)
      if written then made(state, item, address, from, to, written) end
    end
  end,
}

of.Tx = {
  plan = function(plan, prefix)
    local about = "SHA-256d without witnesses, shown reversed"
    local txid = reader.declare(plan, STRING, prefix .. "txid", "txid", nil, about)
    about = "SHA-256d with witnesses, shown reversed"
    local wtxid = reader.declare(plan, STRING, prefix .. "wtxid", "wtxid", nil, about)
    return function(state, item, _, from, to)
      local wanted = state.new_claims or item:referenced(txid) or item:referenced(wtxid)
      -- What is only in an extension block has an id of what is not read.
      if not state.derive or not wanted or state.mweb_only then return end
      local bytes = state.text
      local id = hashes.sha256d(
        bytes:sub(from, from + 3) .. bytes:sub(state.base_from, state.base_to) .. bytes:sub(to - 3, to)
      )
      local with = id
      if state.has_witness and state.flag == 1 then
        with = hashes.sha256d(bytes:sub(from, to))
      elseif state.has_witness then -- MWEB data and their flag are left out
        local extended = "\0\1" .. bytes:sub(state.base_from, state.witness_to)
        with = hashes.sha256d(bytes:sub(from, from + 3) .. extended .. bytes:sub(to - 3, to))
      end
      made(state, item, txid, from, to, text.display(id))
      made(state, item, wtxid, from, to, text.display(with))
      for _, new in ipairs(state.new_claims or {}) do
        local output, tree, field, begin, stop = table.unpack(new)
        local claim_id = hashes.hash160(id .. Struct.pack(">I4", output))
        made(state, tree, field, begin, stop, text.display(claim_id))
      end
    end
  end,
}

of.AddressV2 = {
  keep = { "network_id", "addr" },
  check = function(state, kept)
    local network = number(state, kept.network_id)
    local wanted = data.address_sizes[network]
    local size = kept.addr[2] - kept.addr[1] + 1
    if wanted and size ~= wanted then
      cursor.enter(state, "addr", nil)
      local words = "%d bytes, but addresses of network %d have %d"
      cursor.fail(state, words:format(size, network, wanted))
    end
  end,
  plan = function(plan, prefix)
    local addr = reader.declare(plan, STRING, prefix .. "addr", "addr", nil, "as people write it")
    return function(state, item, kept)
      local written = text.address(number(state, kept.network_id), content(state, kept.addr))
      if written then made(state, item, addr, kept.addr[1], kept.addr[2], written) end
    end
  end,
}

-- Indexes are sums that may go beyond what a number of Lua holds exactly: low and high 32 bits.
local WORD, STEP = 2 ^ 32, 1000000

-- The index after another, by the difference that was read at a position.
local function next_index(state, index, delta, position)
  local low, high = delta, 0
  if delta >= WORD then low, high = Struct.unpack("<I4I4", state.text, position) end
  low, high = low + index[1] + 1, high + index[2]
  return { low % WORD, high + math.floor(low / WORD) }
end

local BEFORE_FIRST = { -1, 0 }

local function index_text(index)
  local low, high, tail = index[1], index[2], ""
  while high >= 2 ^ 20 do
    local rest = high % STEP * WORD + low
    low, high = math.floor(rest / STEP), math.floor(high / STEP)
    tail = ("%06.0f"):format(rest % STEP) .. tail
  end
  return ("%.0f"):format(high * WORD + low) .. tail
end

local function check_index(state, index, name)
  if index[2] > 0 or index[1] > data.most_transactions then
    cursor.enter(state, name, nil)
    cursor.fail(state, ("index %s does not fit in 16 bits"):format(index_text(index)))
  end
end

of.PrefilledTx = {
  keep = { "index_delta" },
  check = function(state, kept)
    local delta, position = cursor.peek(state, kept.index_delta[1])
    state.index = next_index(state, state.index or BEFORE_FIRST, delta, position)
  end,
  plan = function(plan, prefix)
    local about = "the place in the block"
    local index = reader.declare(plan, ftypes.UINT64, prefix .. "index", "index", nil, about)
    return function(state, item, kept)
      local from, to = kept.index_delta[1], kept.index_delta[2]
      made(state, item, index, from, to, UInt64.new(state.index[1], state.index[2] % WORD))
    end
  end,
}

of.CmpctBlock = {
  keep = { "short_ids", "prefilled" },
  check = function(state, kept)
    local prefilled = cursor.peek(state, kept.prefilled[1])
    if prefilled > 0 then check_index(state, state.index, "prefilled") end
    local total = cursor.peek(state, kept.short_ids[1]) + prefilled
    if total > data.most_transactions then
      local words = "%d transactions, at most %d allowed"
      cursor.fail(state, words:format(total, data.most_transactions))
    end
  end,
}

-- The last of the indexes that a list of differences means; `seen` is called with each.
local function each_index(state, position, seen)
  local index, before = BEFORE_FIRST, state.position
  state.position = position[1]
  local count = cursor.compact(state)
  for _ = 1, count do
    local from = state.position
    index = next_index(state, index, cursor.compact(state))
    if seen then seen(index, from, state.position - 1) end
  end
  state.position = before
  return index
end

of.GetBlockTxn = {
  keep = { "index_deltas" },
  check = function(state, kept)
    check_index(state, each_index(state, kept.index_deltas), "index_deltas")
  end,
  plan = function(plan, prefix)
    local about = "the places in the block"
    local path = prefix .. "indexes"
    local count = reader.declare(plan, ftypes.UINT64, path .. ".count", "indexes", nil, about)
    local field = reader.declare(plan, ftypes.UINT64, path, "index", nil, about)
    return function(state, item, kept)
      local position = kept.index_deltas
      local number_of = cursor.peek(state, position[1])
      local tree = reader.add(state, item, count, position[1], position[2], UInt64.new(number_of, 0))
      tree:set_generated()
      each_index(state, position, function(index, from, to)
        made(state, tree, field, from, to, UInt64.new(index[1], 0))
      end)
    end
  end,
}

of.FilterLoad = {
  keep = { "hash_funcs" },
  check = function(state, kept)
    local count = number(state, kept.hash_funcs)
    if count > data.most_hash_funcs then
      cursor.enter(state, "hash_funcs", nil)
      local words = "%d hash functions, at most %d allowed"
      cursor.fail(state, words:format(count, data.most_hash_funcs))
    end
  end,
}

-- A record in the bytes of another's field, which is shown if it can be read; bytes after it are
-- ignored.
function M.inside(plan, inside, prefix)
  local path = prefix .. inside.name
  local field = reader.declare(plan, ftypes.NONE, path, inside.name)
  local read = reader.content_of(plan, inside.record, path .. ".")
  return function(state, item, kept)
    local position = kept[inside.field]
    local function fresh()
      local inner = cursor.state(content(state, position), state.tvb, state.base + position[1] - 1)
      inner.rules, inner.version, inner.network = state.rules, 0, state.network
      inner.items = state.items
      return inner
    end
    if not pcall(read, fresh(), nil) then return end
    local tree = reader.branch(state, item, field, position[1], inside.name)
    tree:set_len(position[2] - position[1] + 1)
    local inner = fresh()
    read(inner, tree)
    state.items = inner.items
  end
end

return M
