"""What a filter can ask for: fields of any entry, and fields of records with what they imply."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from lbcproxy import networks
from lbcproxy.filters.types import (
    ABSENT,
    ANYTHING,
    COMMAND,
    DIRECTION,
    HASH,
    HEX,
    NUMBER,
    TEXT,
    TIME,
    TRANSPORT,
    RecordField,
    RecordGetter,
    ValueType,
    fields_of,
    list_of,
    record_type,
)
from lbcproxy.networks import Network, output_address
from lbcproxy.session import Entry, SessionInfo
from lbcproxy.wire.claims import Claim, claims_of
from lbcproxy.wire.messages.addresses import AddressV2
from lbcproxy.wire.messages.blocks import Block, MerkleBlock
from lbcproxy.wire.messages.compact_blocks import BlockTxn, CmpctBlock, GetBlockTxn
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.reject import Alert, AlertBody
from lbcproxy.wire.messages.transactions import Tx, TxOut
from lbcproxy.wire.record import Record

__all__ = [
    "DERIVED",
    "ENTRY_FIELDS",
    "EntryField",
    "FilterContext",
    "Getter",
    "SeenClaim",
    "members_of",
]


class FilterContext:
    """One entry that a filter is called with, and the variables of the filter's loops."""

    __slots__ = ("entry", "info", "variables")

    def __init__(self, entry: Entry, info: SessionInfo | None, variables: int) -> None:
        self.entry = entry
        self.info = info
        self.variables: list[object] = [None] * variables

    @property
    def network(self) -> Network | None:
        """The network, which addresses and claims depend on; None if it is not known."""
        message = self.entry.message
        try:
            return None if message is None else networks.get(message.codec.network.id)
        except KeyError:
            return None


Getter: TypeAlias = Callable[[FilterContext], Any]
"""Returns a value of any type, or ABSENT."""


class EntryField(msgspec.Struct, frozen=True):
    """Something that every entry has."""

    type: ValueType
    get: Getter
    description: str
    """What it is, for the documentation."""
    decodes: bool = False
    """Whether it needs the decoded payload."""


def _command(context: FilterContext) -> str | None:
    message = context.entry.message
    return None if message is None else message.command


def _of_session(name: str) -> Getter:
    def get(context: FilterContext) -> object:
        value = ABSENT if context.info is None else getattr(context.info, name)
        return value if value is ABSENT or value is None else str(value)

    return get


def _transport(context: FilterContext) -> object:
    info = context.info
    return ABSENT if info is None else info.transport_from(context.entry.direction).kind.value


def _network(context: FilterContext) -> object:
    message = context.entry.message
    if message is not None:
        return message.codec.network.id
    return ABSENT if context.info is None else context.info.network


_SIZE = EntryField(NUMBER, lambda context: context.entry.length, "bytes of payload")

ENTRY_FIELDS: dict[str, EntryField] = {
    "command": EntryField(COMMAND, _command, "as `inv`; null for bytes that are not a message"),
    "direction": EntryField(
        DIRECTION, lambda context: context.entry.direction.value, "`to_upstream` or `to_client`"
    ),
    "session": EntryField(
        NUMBER, lambda context: context.entry.session, "the number after `#` in a line"
    ),
    "number": EntryField(
        NUMBER, lambda context: context.entry.number, "counted from 1 over all sessions"
    ),
    "time": EntryField(
        TIME,
        lambda context: context.entry.time_ns,
        'when it arrived: compare with `"2026-11-23"` or `"2026-11-23T08:30:00Z"`, with any '
        "precision; UTC, if no time zone is given",
    ),
    "size": _SIZE,
    "length": msgspec.structs.replace(_SIZE, description="the same, by its name in `-T ndjson`"),
    "verdict": EntryField(
        TEXT, lambda context: context.entry.verdict, "what happened to it: `pass`, ..."
    ),
    "trail": EntryField(
        list_of(TEXT),
        lambda context: context.entry.trail,
        "what plugins and faults decided, in order",
    ),
    "error": EntryField(
        TEXT,
        lambda context: context.entry.error,
        "what is wrong, and where; null if nothing is",
        True,
    ),
    "network": EntryField(TEXT, _network, "as `lbry-mainnet`"),
    "transport": EntryField(
        TRANSPORT, _transport, "how the leg carries messages that it came by: `v1`, `v2`, `opaque`"
    ),
    "client": EntryField(TEXT, _of_session("client"), "the client: HOST:PORT"),
    "upstream": EntryField(TEXT, _of_session("upstream"), "the upstream: HOST:PORT"),
    "listen": EntryField(TEXT, _of_session("listen"), "where the client connected to: HOST:PORT"),
}
"""By name, in the order of the documentation."""


class SeenClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim, a support or an update, with the transaction and address of its output."""

    txid: str
    claim: Claim
    address: str | None


def _claims(transactions: Iterable[Tx], network: Network | None) -> tuple[SeenClaim, ...]:
    if network is None or not network.rules.claim_trie:
        return ()
    return tuple(
        SeenClaim(txid, claim, output_address(claim.script, network))
        for txid, claim in claims_of(transactions)
    )


def _addresses(transactions: Iterable[Tx], network: Network | None) -> tuple[str, ...]:
    if network is None:
        return ()
    found = (
        output_address(output.script_pubkey, network)
        for tx in transactions
        for output in tx.outputs
    )
    return tuple(address for address in found if address is not None)


def _of_transactions(get: Callable[[Any], Iterable[Tx]]) -> dict[str, RecordField]:
    """Return what some transactions have together."""
    return {
        "addresses": RecordField(
            list_of(TEXT), lambda record, context: _addresses(get(record), context.network)
        ),
        "claims": RecordField(
            list_of(record_type(SeenClaim)),
            lambda record, context: _claims(get(record), context.network),
            rule="claim_trie",
        ),
    }


def _prefilled(block: CmpctBlock) -> tuple[Tx, ...]:
    return tuple(each.tx for each in block.prefilled)


def _of_claim(name: str) -> RecordGetter:
    return lambda seen, _: getattr(seen.claim, name)


_INDEXES = RecordField(list_of(NUMBER), lambda record, _: record.indexes)
_BLOCK_ID = RecordField(HASH, lambda record, _: record.header.hash)

DERIVED: dict[type, dict[str, RecordField]] = {
    Tx: {
        "txid": RecordField(HASH, lambda tx, _: None if tx.is_mweb_only else tx.txid),
        "wtxid": RecordField(HASH, lambda tx, _: None if tx.is_mweb_only else tx.wtxid),
        **_of_transactions(lambda tx: (tx,)),
    },
    TxOut: {
        "address": RecordField(
            TEXT,
            lambda output, context: (
                context.network and output_address(output.script_pubkey, context.network)
            ),
        ),
    },
    BlockHeader: {
        "hash": RecordField(HASH, lambda header, _: header.hash),
        "pow_hash": RecordField(
            HASH, lambda header, _: header.claim_trie and header.pow_hash, rule="claim_trie"
        ),
    },
    Block: {"hash": _BLOCK_ID, **_of_transactions(lambda block: block.transactions)},
    BlockTxn: _of_transactions(lambda answer: answer.transactions),
    MerkleBlock: {"hash": _BLOCK_ID},
    CmpctBlock: {"hash": _BLOCK_ID, "indexes": _INDEXES, **_of_transactions(_prefilled)},
    GetBlockTxn: {"indexes": _INDEXES},
    AddressV2: {"addr": RecordField(TEXT, lambda address, _: address.derived()["addr"])},
    Alert: {"alert": RecordField(record_type(AlertBody), lambda alert, _: alert.body)},
    SeenClaim: {
        "txid": RecordField(msgspec.structs.replace(HASH, convert=None), lambda seen, _: seen.txid),
        "output": RecordField(NUMBER, _of_claim("output")),
        "kind": RecordField(
            msgspec.structs.replace(TEXT, choices=("claim", "support", "update")), _of_claim("kind")
        ),
        "name": RecordField(TEXT, _of_claim("name")),
        "claim_id": RecordField(
            msgspec.structs.replace(HEX, convert=None, digits=40, description="a claim id"),
            _of_claim("claim_id"),
        ),
        "value": RecordField(HEX, _of_claim("value")),
        "amount": RecordField(NUMBER, _of_claim("amount")),
        "address": RecordField(TEXT, lambda seen, _: seen.address),
    },
}


@functools.cache
def members_of(record: type) -> dict[str, RecordField]:
    """Return everything that a filter can use of a record, by name."""
    derived = DERIVED.get(record)
    return fields_of(record) | (_own(record) if derived is None else derived)


def _own(record: type) -> dict[str, RecordField]:
    """Return what a user's own record derives: its properties, whose types are unknown."""
    if not issubclass(record, Record) or record.derived is Record.derived:
        return {}
    return {
        name: RecordField(ANYTHING, lambda value, _, name=name: value.derived().get(name))  # type: ignore[misc]
        for name in vars(record)
        if isinstance(vars(record)[name], property)
    }
