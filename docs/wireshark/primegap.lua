-- Wireshark dissector for primegap's link: ATT values of the UART service, BTP version 2 packets in
-- them, and the headers of the QuantumLink records that the packets carry.
--
-- It reads what everybody on the air can see; the contents of records are sealed. Copy it into
-- Wireshark's folder of personal Lua plugins (Help, About, Folders) and open a btsnoop capture.

local PAYLOAD_BYTES = 236
local HEADER_BYTES = 8
local MAX_RECORD_BYTES = 131072
local TAG_V2 = 0xB2

local WRITE_REQUEST, WRITE_COMMAND, NOTIFICATION = 0x12, 0x52, 0x1B
local RX_HANDLE, TX_HANDLE = 0x0010, 0x0012 -- companion to device; device to companion

local KINDS = {
  [1] = "IK1", [2] = "IK2", [3] = "KK1", [4] = "KK2",
  [5] = "XX1", [6] = "XX2", [7] = "XX3", [8] = "XX4",
}
local TYPES = { [1] = "handshake", [2] = "session" }
local SUITES = {
  [0x02] = { name = "reference", key = 1568, ciphertext = 1568 },
  [0x82] = { name = "native", key = 1216, ciphertext = 1120 },
}
local SUITE_NAMES = { [0x02] = "reference", [0x82] = "native" }
local TAG_BYTES = 16

-- BTP ---------------------------------------------------------------------------------------------

local btp = Proto("primegap_btp", "primegap BTP")
local btp_sequence = ProtoField.uint16("primegap_btp.sequence", "Sequence")
local btp_index = ProtoField.uint16("primegap_btp.index", "Packet")
local btp_count = ProtoField.uint32("primegap_btp.count", "Packets of the record")
local btp_length = ProtoField.uint24("primegap_btp.record_length", "Record length")
local btp_tag = ProtoField.uint8("primegap_btp.tag", "Version tag", base.HEX)
local btp_payload = ProtoField.bytes("primegap_btp.payload", "Payload")
local btp_padding = ProtoField.bytes("primegap_btp.padding", "Padding")
btp.fields = { btp_sequence, btp_index, btp_count, btp_length, btp_tag, btp_payload, btp_padding }

local error_version = ProtoExpert.new(
  "primegap_btp.bad_version", "Not a packet of BTP version 2", expert.group.PROTOCOL, expert.severity.ERROR)
local error_length = ProtoExpert.new(
  "primegap_btp.bad_length", "Record length outside 1 to 131072", expert.group.PROTOCOL, expert.severity.ERROR)
local error_index = ProtoExpert.new(
  "primegap_btp.bad_index", "Packet outside its record", expert.group.PROTOCOL, expert.severity.ERROR)
local error_short = ProtoExpert.new(
  "primegap_btp.short", "Packet shorter than its part of the record", expert.group.MALFORMED, expert.severity.ERROR)
btp.experts = { error_version, error_length, error_index, error_short }

-- QuantumLink -------------------------------------------------------------------------------------

local link = Proto("primegap_link", "QuantumLink record")
local link_version = ProtoField.uint8("primegap_link.version", "Version", base.HEX, SUITE_NAMES)
local link_sender = ProtoField.bytes("primegap_link.sender", "Sender")
local link_recipient = ProtoField.bytes("primegap_link.recipient", "Recipient")
local link_type = ProtoField.uint8("primegap_link.type", "Type", base.DEC, TYPES)
local link_kind = ProtoField.uint8("primegap_link.kind", "Message", base.DEC, KINDS)
local link_handshake = ProtoField.uint32("primegap_link.handshake_id", "Handshake id")
local link_pairing = ProtoField.bytes("primegap_link.pairing_id", "Pairing id")
local link_window = ProtoField.uint32("primegap_link.window", "Initial stream window")
local link_ciphertext = ProtoField.bytes("primegap_link.ciphertext", "KEM ciphertext")
local link_key = ProtoField.bytes("primegap_link.ephemeral_key", "Ephemeral public key")
local link_sealed = ProtoField.bytes("primegap_link.sealed_ciphertext", "Encrypted KEM ciphertext")
local link_bundle = ProtoField.bytes("primegap_link.sealed_bundle", "Encrypted bundle")
local link_seq = ProtoField.uint64("primegap_link.seq", "Record number")
local link_tag = ProtoField.bytes("primegap_link.tag", "Tag")
local link_body = ProtoField.bytes("primegap_link.body", "Sealed body")
local link_extra = ProtoField.bytes("primegap_link.extra", "Bytes behind the message")
link.fields = {
  link_version, link_sender, link_recipient, link_type, link_kind, link_handshake, link_pairing,
  link_window, link_ciphertext, link_key, link_sealed, link_bundle, link_seq, link_tag, link_body,
  link_extra,
}
local error_record = ProtoExpert.new(
  "primegap_link.malformed", "Not a QuantumLink record", expert.group.MALFORMED, expert.severity.ERROR)
local error_cut = ProtoExpert.new(
  "primegap_link.cut", "The message ends too early", expert.group.MALFORMED, expert.severity.ERROR)
local warn_suite = ProtoExpert.new(
  "primegap_link.unknown_version", "No suite has this version", expert.group.PROTOCOL, expert.severity.WARN)
link.experts = { error_record, error_cut, warn_suite }

-- Parts of a message behind the handshake id: field, size (nil: to the end), little endian or not.
local function layout(kind, suite)
  local window = { link_window, 4, true }
  local ciphertext, key = { link_ciphertext, suite.ciphertext }, { link_key, suite.key }
  local sealed, bundle = { link_sealed, suite.ciphertext + TAG_BYTES }, { link_bundle, nil }
  local layouts = {
    [1] = { window, ciphertext, key, bundle },
    [2] = { window, ciphertext, sealed },
    [3] = { window, ciphertext, key },
    [4] = { window, ciphertext, sealed },
    [5] = { { link_pairing, 16 }, window, key },
    [6] = { window, ciphertext, bundle },
    [7] = { sealed, bundle },
    [8] = { sealed },
  }
  return layouts[kind]
end

local function add(tree, field, range, is_little)
  if is_little then tree:add_le(field, range) else tree:add(field, range) end
end

local function dissect_handshake(buffer, tree, version)
  if buffer:len() < 39 then
    tree:add_proto_expert_info(error_cut)
    return "handshake"
  end
  local kind = buffer(34, 1):uint()
  tree:add(link_kind, buffer(34, 1))
  if KINDS[kind] == nil then
    tree:add_proto_expert_info(error_record)
    return "unknown handshake message"
  end
  tree:add_le(link_handshake, buffer(35, 4))
  local suite, at = SUITES[version], 39
  if suite ~= nil then
    for _, part in ipairs(layout(kind, suite)) do
      local left = buffer:len() - at
      local size = part[2] or left
      if left < size then
        tree:add_proto_expert_info(error_cut)
        return KINDS[kind] .. " (cut)"
      end
      if size > 0 then add(tree, part[1], buffer(at, size), part[3]) end
      at = at + size
    end
    if at < buffer:len() then tree:add(link_extra, buffer(at)) end
  end
  return string.format("%s, handshake %d", KINDS[kind], buffer(35, 4):le_uint())
end

-- Length of the canonical varint at an offset, and its value; nil when there is none.
local function varint(buffer, at)
  local value = UInt64.new(0, 0)
  for count = 1, 10 do
    if at + count > buffer:len() then return nil end
    local byte = buffer(at + count - 1, 1):uint()
    local group = UInt64.new(byte % 128, 0)
    value = value + group:lshift(7 * (count - 1))
    if byte < 128 then
      if (count > 1 and byte == 0) or (count == 10 and byte > 1) then return nil end
      return count, value
    end
  end
  return nil
end

local function dissect_session(buffer, tree)
  local size, seq = varint(buffer, 34)
  if size == nil or buffer:len() < 34 + size + TAG_BYTES then
    tree:add_proto_expert_info(error_record)
    return "session record (malformed)"
  end
  tree:add(link_seq, buffer(34, size), seq)
  tree:add(link_tag, buffer(34 + size, TAG_BYTES))
  local body = 34 + size + TAG_BYTES
  if body < buffer:len() then tree:add(link_body, buffer(body)) end
  return "session record " .. tostring(seq)
end

local function dissect_record(buffer, root)
  local tree = root:add(link, buffer())
  if buffer:len() < 34 then
    tree:add_proto_expert_info(error_record)
    return "malformed record"
  end
  local version, kind = buffer(0, 1):uint(), buffer(33, 1):uint()
  tree:add(link_version, buffer(0, 1))
  if SUITES[version] == nil then tree:add_proto_expert_info(warn_suite) end
  tree:add(link_sender, buffer(1, 16))
  tree:add(link_recipient, buffer(17, 16))
  tree:add(link_type, buffer(33, 1))
  local summary
  if kind == 1 then
    summary = dissect_handshake(buffer, tree, version)
  elseif kind == 2 then
    summary = dissect_session(buffer, tree)
  else
    tree:add_proto_expert_info(error_record)
    summary = "record of an unknown type"
  end
  tree:append_text(string.format(": %s, %d bytes", summary, buffer:len()))
  return summary
end

function link.dissector(buffer, _, root)
  dissect_record(buffer, root)
end

-- Putting records together -------------------------------------------------------------------------
-- Wireshark calls a dissector in order once, and then again for whatever packet is looked at. So the
-- first pass keeps, for the packet that completes a record, all payloads of that record.

local open_records, complete_records

function btp.init()
  open_records, complete_records = {}, {}
end

local function collect(direction, sequence, index, count, length, payload, number)
  local records = open_records[direction] or {}
  open_records[direction] = records
  local record = records[sequence]
  if record == nil or record.length ~= length then
    record = { length = length, missing = count, parts = {} }
    records[sequence] = record
    -- Two records at a time, as the receiver has it: the oldest one goes.
    records.order = records.order or {}
    table.insert(records.order, sequence)
    if #records.order > 2 then records[table.remove(records.order, 1)] = nil end
  end
  if record.parts[index] == nil then
    record.parts[index] = payload
    record.missing = record.missing - 1
  end
  if record.missing == 0 then
    local whole = ByteArray.new()
    for part = 0, count - 1 do whole:append(record.parts[part]) end
    complete_records[number] = whole
    records[sequence] = nil
    for place, open in ipairs(records.order) do
      if open == sequence then
        table.remove(records.order, place)
        break
      end
    end
  end
end

local function dissect_btp(buffer, info, root, direction)
  local tree = root:add(btp, buffer())
  if buffer:len() < HEADER_BYTES or buffer(7, 1):uint() ~= TAG_V2 then
    tree:add_proto_expert_info(error_version)
    return
  end
  local sequence, index = buffer(0, 2):le_uint(), buffer(2, 2):le_uint()
  local length = buffer(4, 2):le_uint() + buffer(6, 1):uint() * 65536
  tree:add_le(btp_sequence, buffer(0, 2))
  tree:add_le(btp_index, buffer(2, 2))
  tree:add_le(btp_length, buffer(4, 3))
  tree:add(btp_tag, buffer(7, 1))
  if length == 0 or length > MAX_RECORD_BYTES then
    tree:add_proto_expert_info(error_length)
    return
  end
  local count = math.floor((length + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES)
  tree:add(btp_count, buffer(4, 3), count)
  if index >= count then
    tree:add_proto_expert_info(error_index)
    return
  end
  local size = math.min(PAYLOAD_BYTES, length - index * PAYLOAD_BYTES)
  if buffer:len() - HEADER_BYTES < size then
    tree:add_proto_expert_info(error_short)
    return
  end
  tree:add(btp_payload, buffer(HEADER_BYTES, size))
  if buffer:len() > HEADER_BYTES + size then tree:add(btp_padding, buffer(HEADER_BYTES + size)) end
  tree:append_text(string.format(": record %d, packet %d of %d", sequence, index + 1, count))
  info.cols.protocol = "BTP"
  info.cols.info = string.format("Record %d, packet %d of %d", sequence, index + 1, count)
  if not info.visited then
    collect(direction, sequence, index, count, length, buffer(HEADER_BYTES, size):bytes(), info.number)
  end
  local whole = complete_records[info.number]
  if whole ~= nil then
    local summary = dissect_record(whole:tvb("QuantumLink record"), root)
    info.cols.protocol = "QuantumLink"
    info.cols.info = string.format("%s, %d bytes in %d packets", summary, length, count)
  end
end

-- Registration: behind Wireshark's own dissectors, on every ATT write and notification of the service.
-- The value is taken from behind the operation code and not from `btatt.value`, because Wireshark
-- names the value otherwise once it has seen the discovery of the service.

local att_opcode = Field.new("btatt.opcode")
local att_handle = Field.new("btatt.handle")
local ATT_HEADER_BYTES = 3

function btp.dissector(_, info, root)
  local opcode, handle = att_opcode(), att_handle()
  if opcode == nil or handle == nil then return end
  local code, attribute, direction = opcode.value, handle.value, nil
  if (code == WRITE_COMMAND or code == WRITE_REQUEST) and attribute == RX_HANDLE then
    direction = "to device"
  elseif code == NOTIFICATION and attribute == TX_HANDLE then
    direction = "to companion"
  else
    return
  end
  local source, start = opcode.source, opcode.offset + ATT_HEADER_BYTES
  if source:len() > start then
    dissect_btp(source(start, source:len() - start):tvb(), info, root, direction)
  end
end

register_postdissector(btp)
