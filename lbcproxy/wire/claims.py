"""LBRY's claims: outputs whose script begins with a claim opcode.

A claim assigns a value to a name, an update changes the value, and a support adds an amount to
a claim. The rest of the script is an ordinary output script. lbcd `txscript/claimscript.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from lbcproxy.wire.hashes import display, hash160
from lbcproxy.wire.messages.transactions import Tx

__all__ = ["Claim", "ClaimScript", "claims_of", "read_claim_script"]

OP_PUSHDATA1, OP_PUSHDATA4 = 0x4C, 0x4E
OP_2DROP, OP_DROP = b"\x6d", b"\x75"
TWO_DROPPED, THREE_DROPPED = OP_2DROP + OP_DROP, OP_2DROP + OP_2DROP
KINDS = {0xB5: "claim", 0xB6: "support", 0xB7: "update"}
CLAIM_ID_SIZE = 20
MAX_NAME_SIZE = 255
MAX_CLAIM_SIZE = 8192
"""Bytes from the claim opcode through the last drop; the script that follows does not count."""


class ClaimScript(msgspec.Struct, frozen=True, gc=False):
    """A claim as encoded in a script."""

    kind: str
    """"claim", "support" or "update"."""
    name: bytes
    claim_id: bytes | None
    """20 bytes in wire order; None for a new claim, whose id derives from its outpoint."""
    value: bytes | None
    script: bytes
    """The ordinary output script after the claim."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A claim of a transaction, in the form that is displayed."""

    output: int
    kind: str
    name: str
    """The name, with backslash escapes for bytes that are not UTF-8."""
    claim_id: str
    """In display order: hexadecimal, reversed."""
    value: bytes | None
    amount: int
    """In base units, 100,000,000 to a coin."""
    script: bytes
    """The ordinary output script after the claim."""

    def to_dict(self) -> dict[str, str | None]:
        """Return kind, name, claim id and value (hexadecimal) as a JSON object."""
        value = None if self.value is None else self.value.hex()
        return {"kind": self.kind, "name": self.name, "claim_id": self.claim_id, "value": value}


def read_claim_script(script: bytes) -> ClaimScript | None:
    """Return the claim at the beginning of a script; None if lbcd finds none there.

    Every opcode is accepted in place of a name or value. Only pushes of data carry bytes: for
    every other opcode, small numbers included, lbcd reads an empty name or value.
    """
    kind = KINDS.get(script[0]) if script else None
    if kind is None:
        return None
    claim_id: bytes | None = None
    value: bytes | None = None
    (name, second), end = _pushed(script, 1, 2)
    if kind == "claim":
        value = second
    elif len(second) == CLAIM_ID_SIZE:
        claim_id = second
    else:
        return None
    drops = TWO_DROPPED
    if kind == "update" or (kind == "support" and script[end : end + 1] != OP_2DROP):
        (value,), end = _pushed(script, end, 1)
        drops = THREE_DROPPED
    if script[end : end + 2] != drops:
        return None
    end += 2
    if len(name) > MAX_NAME_SIZE or end > MAX_CLAIM_SIZE or (kind == "support" and value == b""):
        return None
    return ClaimScript(kind, name, claim_id, value, script[end:])


def _pushed(script: bytes, offset: int, count: int) -> tuple[list[bytes], int]:
    """Return the bytes that each of some tokens pushes, and the offset after the last of them.

    An opcode that is not a push of data pushes nothing. What is missing, or longer than the script,
    pushes nothing either, and the offset is then the end of the script.
    """
    pushed: list[bytes] = []
    for _ in range(count):
        opcode, start, size = script[offset] if offset < len(script) else 0, offset + 1, 0
        if opcode < OP_PUSHDATA1:
            size = opcode
        elif opcode <= OP_PUSHDATA4:
            start += 1 << (opcode - OP_PUSHDATA1)
            size = int.from_bytes(script[offset + 1 : start], "little")
        offset = start + size
        if offset > len(script):
            return [*pushed, *[b""] * (count - len(pushed))], len(script)
        pushed.append(script[start:offset])
    return pushed, offset


def claims_of(transactions: Iterable[Tx]) -> Iterator[tuple[str, Claim]]:
    """Yield the claims of some transactions, each with its transaction's id in display order."""
    for tx in transactions:
        found = [
            (index, claim, output.value)
            for index, output in enumerate(tx.outputs)
            if (claim := read_claim_script(output.script_pubkey)) is not None
        ]
        txid = tx.txid if found else b""
        for index, claim, amount in found:
            claim_id = claim.claim_id or new_claim_id(txid, index)
            name = claim.name.decode("utf-8", "backslashreplace")
            shown = display(claim_id)
            yield (
                display(txid),
                Claim(index, claim.kind, name, shown, claim.value, amount, claim.script),
            )


def new_claim_id(txid: bytes, output: int) -> bytes:
    """Return the id (20 bytes, wire order) of a claim by its outpoint; txid in wire order."""
    return hash160(txid + output.to_bytes(4, "big"))
