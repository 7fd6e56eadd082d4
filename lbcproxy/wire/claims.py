"""LBRY's claims: outputs whose script begins with a claim opcode.

A claim gives a name a value, a support lends it weight, an update gives it a new value. The rest
of the script is an ordinary one, which guards the output. lbcd `txscript/claimscript.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from lbcproxy.wire.hashes import display, hash160
from lbcproxy.wire.messages.transactions import Tx

__all__ = ["Claim", "ClaimScript", "claims_of", "read_claim_script"]

OP_PUSHDATA1, OP_PUSHDATA2, OP_PUSHDATA4 = 0x4C, 0x4D, 0x4E
OP_2DROP, OP_DROP = 0x6D, 0x75
SMALL_NUMBERS = {0x4F: b"\x81"} | {0x50 + number: bytes((number,)) for number in range(1, 17)}
"""Opcodes that push one byte: -1, and 1 to 16."""
KINDS = {0xB5: "claim", 0xB6: "support", 0xB7: "update"}
CLAIM_ID_SIZE = 20

# What follows the kind's opcode: how many pushes, and the opcodes that clear them off the stack.
FORMS = {
    ("claim", 2): bytes((OP_2DROP, OP_DROP)),
    ("support", 2): bytes((OP_2DROP, OP_DROP)),
    ("support", 3): bytes((OP_2DROP, OP_2DROP)),
    ("update", 3): bytes((OP_2DROP, OP_2DROP)),
}


class ClaimScript(msgspec.Struct, frozen=True, gc=False):
    """A claim as a script has it."""

    kind: str
    """"claim", "support" or "update"."""
    name: bytes
    claim_id: bytes | None
    """20 bytes in wire order; a new claim has none yet, it follows from where it stands."""
    value: bytes | None
    script: bytes
    """The ordinary script behind the claim."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A claim as people look for it."""

    output: int
    kind: str
    name: str
    """The name; bytes that are no UTF-8 as backslash escapes."""
    claim_id: str
    """In display order: hexadecimal, reversed."""
    value: bytes | None
    amount: int
    """In base units, 100,000,000 a coin."""
    script: bytes
    """The ordinary script behind the claim."""

    def to_dict(self) -> dict[str, str | None]:
        """Give what the claim says, as JSON can hold it."""
        value = None if self.value is None else self.value.hex()
        return {"kind": self.kind, "name": self.name, "claim_id": self.claim_id, "value": value}


def read_claim_script(script: bytes) -> ClaimScript | None:
    """Read the claim at the beginning of a script; None if there is no well-formed one."""
    kind = KINDS.get(script[0]) if script else None
    if kind is None:
        return None
    pushes, end = _pushes(script, 1)
    drops = FORMS.get((kind, len(pushes)))
    if drops is None or script[end : end + 2] != drops:
        return None
    claim_id = None if kind == "claim" else pushes[1]
    if claim_id is not None and len(claim_id) != CLAIM_ID_SIZE:
        return None
    has_value = kind == "claim" or len(pushes) == 3
    return ClaimScript(
        kind, pushes[0], claim_id, pushes[-1] if has_value else None, script[end + 2 :]
    )


def _pushes(script: bytes, offset: int) -> tuple[list[bytes], int]:
    """Read pushes of data up to the first other opcode, or the end; give them and where it is."""
    pushes: list[bytes] = []
    while offset < len(script):
        opcode = script[offset]
        if opcode in SMALL_NUMBERS:
            pushes.append(SMALL_NUMBERS[opcode])
            offset += 1
            continue
        if opcode > OP_PUSHDATA4:
            break
        width = {OP_PUSHDATA1: 1, OP_PUSHDATA2: 2, OP_PUSHDATA4: 4}.get(opcode, 0)
        start = offset + 1 + width
        size = int.from_bytes(script[offset + 1 : start], "little") if width else opcode
        if start + size > len(script):
            break
        pushes.append(script[start : start + size])
        offset = start + size
    return pushes, offset


def claims_of(transactions: Iterable[Tx]) -> Iterator[tuple[str, Claim]]:
    """Give every claim of some transactions, each with its transaction's id in display order."""
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
    """Give the id (20 bytes, wire order) of a claim made by an output; txid in wire order."""
    return hash160(txid + output.to_bytes(4, "big"))
