"""An entry as a JSON object: what `-T ndjson` prints, and what a capture in ndjson holds.

This is the only declaration of the keys, which are public and do not change.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy import networks
from lbcproxy.networks import output_address
from lbcproxy.session import Entry, Message, SessionInfo
from lbcproxy.text import iso_time, printable_json
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.claims import claims_of
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.transactions import Tx

__all__ = ["ENTRY_KEYS", "claims_in", "entry_object", "json_line"]

ENTRY_KEYS = (
    *("number", "time", "session", "direction", "command", "length", "message"),
    *("error", "verdict", "trail", "partial", "claims", "missing", "payload", "header"),
    *("transport", "form"),
)
"""The keys of the objects; docs/captures.md describes their values."""


def entry_object(
    entry: Entry, with_payload: bool = False, info: SessionInfo | None = None
) -> dict[str, object]:
    """Return an entry as a JSON object.

    With the payload, the object can be read back. It then has `header` if the frame's header is
    not the one that command and payload imply. `info` is the session; without it nothing says
    how the entry's leg carries messages.
    """
    message = entry.message
    result: dict[str, object] = {
        "number": entry.number,
        "time": iso_time(entry.time_ns),
        "session": entry.session,
        "direction": entry.direction.value,
        "command": None if message is None else entry.command,
        "length": entry.length,
        "message": None if message is None else message.to_dict(),
        "error": entry.error,
        "verdict": entry.verdict,
        "trail": list(entry.trail),
    }
    transport = None if info is None else info.transport_from(entry.direction).kind
    if transport not in (None, Transport.V1):
        result["transport"] = transport.value
    if entry.form:
        result["form"] = msgspec.to_builtins(entry.form)
    if message is not None and message.partial is not None:
        result["partial"] = message.partial.to_dict()
    claims = list(claims_in(entry))
    if claims:
        result["claims"] = claims
    if entry.missing:
        result["missing"] = entry.missing
    if entry.comments:
        result["comments"] = list(entry.comments)
    if with_payload:
        result["payload"] = (entry.payload if message is not None else entry.junk).hex()
        if message is not None and not _has_implied_header(message):
            result["header"] = message.raw[:HEADER_SIZE].hex()
    return result


def json_line(value: object) -> str:
    """Return a value as JSON on one line, without characters that a terminal would act on."""
    return printable_json(msgspec.json.encode(value).decode())


def _has_implied_header(message: Message) -> bool:
    """Whether a frame's header is the one that its command and payload imply."""
    if message.frame_error is None or not message.raw:
        return True
    magic = message.codec.network.magic
    return frame(magic, message.command, message.payload)[:HEADER_SIZE] == message.raw[:HEADER_SIZE]


def claims_in(entry: Entry) -> Iterator[dict[str, object]]:
    """Return the claims of a `tx` or `block` as JSON objects; only LBRY has claims."""
    message = entry.message
    if message is None or not message.codec.network.rules.claim_trie:
        return
    if message.command not in ("tx", "block"):
        return
    network = networks.get(message.codec.network.id)
    record = message.record
    transactions: tuple[Tx, ...] = record.transactions if isinstance(record, Block) else ()
    for txid, claim in claims_of((record,) if isinstance(record, Tx) else transactions):
        yield {
            "txid": txid,
            "output": claim.output,
            **claim.to_dict(),
            "amount": claim.amount,
            "address": output_address(claim.script, network),
        }
