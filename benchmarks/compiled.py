"""A block in plain construct, and compiled by construct itself: what its users can have today.

Our own declarations cannot be compiled to what they mean: construct takes a record's layout for a
Struct and so makes a Container of it, and our kinds of field in it stay interpreted. The constructs
here are plain ones: they make Containers and check no limit. Compiled they take cut input for
whole in places, which lbcproxy must not; they are a rival, no more.
"""

from __future__ import annotations

from typing import Any

from construct import (
    Array,
    Bytes,
    Construct,
    GreedyBytes,
    If,
    Int16ub,
    Int32sl,
    Int32ul,
    Int64sl,
    Peek,
    Prefixed,
    PrefixedArray,
    Struct,
    len_,
    this,
)

__all__ = ["BLOCK", "compiled"]


class CompactSize(Construct):
    """The count of Bitcoin's family. It compiles to a function, as construct's own numbers do.

    Made of construct's parts it would be a choice between four, and the block half as fast.
    """

    def _parse(self, stream: Any, context: Any, path: Any) -> int:
        first: int = stream.read(1)[0]
        return first if first < 0xFD else int.from_bytes(stream.read(2 << first - 0xFD), "little")

    def _build(self, value: int, stream: Any, context: Any, path: Any) -> int:
        if value < 0xFD:
            stream.write(bytes((value,)))
        else:
            power = 1 + (value > 0xFFFF) + (value > 0xFFFFFFFF)
            stream.write(bytes((0xFC + power,)) + value.to_bytes(1 << power, "little"))
        return value

    def _emitparse(self, code: Any) -> str:
        code.append(_PARSE)
        return "parse_size(io)"

    def _emitbuild(self, code: Any) -> str:
        code.append(_BUILD)
        return "build_size(obj, io)"


_PARSE = """
def parse_size(io):
    first = io.read(1)[0]
    return first if first < 0xFD else int.from_bytes(io.read(2 << first - 0xFD), "little")
"""
_BUILD = """
def build_size(value, io):
    if value < 0xFD:
        io.write(bytes((value,)))
    else:
        power = 1 + (value > 0xFFFF) + (value > 0xFFFFFFFF)
        io.write(bytes((0xFC + power,)) + value.to_bytes(1 << power, "little"))
    return value
"""

SIZE = CompactSize()
STRING = Prefixed(SIZE, GreedyBytes)

TX_IN = Struct(
    "prev_hash" / Bytes(32), "prev_index" / Int32ul, "script_sig" / STRING, "sequence" / Int32ul
)
TX_OUT = Struct("value" / Int64sl, "script_pubkey" / STRING)
TX = Struct(
    "version" / Int32sl,
    "marker" / Peek(Int16ub),  # 00 and the flag 01 in place of a count of inputs
    "flag" / If(this.marker == 1, Bytes(2)),
    "inputs" / PrefixedArray(SIZE, TX_IN),
    "outputs" / PrefixedArray(SIZE, TX_OUT),
    "witnesses" / If(this.marker == 1, Array(len_(this.inputs), PrefixedArray(SIZE, STRING))),
    "lock_time" / Int32ul,
)
BLOCK = Struct(
    "version" / Int32sl,
    "prev_block" / Bytes(32),
    "merkle_root" / Bytes(32),
    "timestamp" / Int32ul,
    "bits" / Int32ul,
    "nonce" / Int32ul,
    "transactions" / PrefixedArray(SIZE, TX),
)


def compiled() -> Any:
    """Return the block, compiled."""
    return BLOCK.compile()
