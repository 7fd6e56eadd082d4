"""Block headers and the requests for them: `getblocks`, `getheaders`, `headers`.

lbcd `wire/blockheader.go`, `wire/msggetheaders.go`, `wire/msgheaders.go`. LBRY's header has the
root of its claim trie between the merkle root and the timestamp.
"""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, ClassVar

from construct import Subconstruct

from lbcproxy.json_types import JsonObject, JsonValue
from lbcproxy.wire.construct_types import Context, FieldValue
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import COMPACT_SIZE, HASH, Hash, Int32, Many, UInt32, count_in, plain
from lbcproxy.wire.hashes import display, lbry_pow_hash, sha256d
from lbcproxy.wire.optional import IfChain
from lbcproxy.wire.record import MessageRecord, Record, at_most
from lbcproxy.wire.rules import ByChain, Limit, Params

__all__ = ["BlockHeader", "GetBlocks", "GetHeaders", "Headers"]


class BlockHeader(Record, frozen=True, gc=False):
    """The header of a block: 112 bytes on LBRY, 80 bytes (no `claim_trie`) on Bitcoin."""

    version: Int32
    prev_block: Hash
    merkle_root: Hash
    claim_trie: Annotated[bytes | None, IfChain("claim_trie", HASH)]
    timestamp: UInt32
    bits: UInt32
    nonce: UInt32

    def to_bytes(self) -> bytes:
        """Return the serialized header, which is what is hashed."""
        return b"".join(
            (
                (self.version & 0xFFFFFFFF).to_bytes(4, "little"),
                self.prev_block,
                self.merkle_root,
                self.claim_trie or b"",
                self.timestamp.to_bytes(4, "little"),
                self.bits.to_bytes(4, "little"),
                self.nonce.to_bytes(4, "little"),
            )
        )

    @property
    def hash(self) -> bytes:
        """The block's id in wire order: SHA-256d of the header."""
        return sha256d(self.to_bytes())

    @property
    def pow_hash(self) -> bytes:
        """The proof-of-work hash in wire order: LBRY's own, on other chains the block's id."""
        data = self.to_bytes()
        return sha256d(data) if self.claim_trie is None else lbry_pow_hash(data)

    def derived(self) -> JsonObject:
        """Return the block's id and, on LBRY, the proof-of-work hash, in display order."""
        result = {"hash": display(self.hash)}
        if self.claim_trie is not None:
            result["pow_hash"] = display(self.pow_hash)
        return result


class Bare(Subconstruct):
    """A header in `headers`: followed by a transaction count, which must be zero."""

    def _parse(self, stream: BytesIO, context: Context, path: str) -> FieldValue:
        header = self.subcon._parsereport(stream, context, path)
        start = stream.tell()
        try:
            count = COMPACT_SIZE._parse(stream, context, path)
            if count:
                raise FieldError(f"{count} transactions after a header, none allowed")
        except FieldError as error:
            raise error.inside("transaction_count", start) from None
        return header

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        self.subcon._build(value, stream, context, path)
        stream.write(b"\x00")
        return value

    def plain(self, value: FieldValue) -> JsonValue:
        """Return the header as JSON."""
        return plain(self.subcon, value)


class Headers(MessageRecord, frozen=True, gc=False):
    """Block headers in chain order, at most 2,000."""

    command: ClassVar[str] = "headers"
    maximum: ClassVar[Limit] = ByChain("headers_payload")

    headers: Annotated[tuple[BlockHeader, ...], Many(Bare(BlockHeader.schema), 2000)]

    def summary(self) -> str:
        """Return the number of headers."""
        return f"num {len(self.headers)}"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the number of headers."""
        return f"num {count_in(head)}"


class _Locator(MessageRecord, frozen=True, gc=False):
    """Hashes of known blocks, newest first, and where to stop (zero: as many as allowed)."""

    maximum: ClassVar[Limit] = 16_045

    version: UInt32
    locator: Annotated[tuple[Hash, ...], at_most(500)]
    hash_stop: Hash

    def summary(self) -> str:
        """Return the first hash of the locator and the stop hash."""
        begin = f"locator {display(self.locator[0])}" if self.locator else "no locator"
        return f"{begin}, stop {display(self.hash_stop)}"


class GetBlocks(_Locator, frozen=True, gc=False):
    """Requests the ids of the blocks after a locator of at most 500 hashes."""

    command: ClassVar[str] = "getblocks"


class GetHeaders(_Locator, frozen=True, gc=False):
    """Requests the headers of the blocks after a locator of at most 500 hashes."""

    command: ClassVar[str] = "getheaders"
