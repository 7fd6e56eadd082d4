"""What a record's fields imply and people look for: ids, addresses, claims."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from lbcproxy.filters.types import (
    ANYTHING,
    HASH,
    HEX,
    NUMBER,
    TEXT,
    Member,
    fields_of,
    list_of,
    record_kind,
)
from lbcproxy.networks import Network, output_address
from lbcproxy.wire.claims import Claim, claims_of
from lbcproxy.wire.messages.addresses import AddressV2
from lbcproxy.wire.messages.blocks import Block, MerkleBlock
from lbcproxy.wire.messages.compact_blocks import BlockTxn, CmpctBlock, GetBlockTxn
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.reject import Alert, AlertBody
from lbcproxy.wire.messages.transactions import Tx, TxOut
from lbcproxy.wire.record import Record

__all__ = ["DERIVED", "SeenClaim", "members_of"]


class SeenClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim, a support or an update, and where it stands."""

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


def _of_transactions(get: Callable[[Any], Iterable[Tx]]) -> dict[str, Member]:
    """Give what is asked for of some transactions together."""
    return {
        "addresses": Member(
            list_of(TEXT), lambda record, moment: _addresses(get(record), moment.network)
        ),
        "claims": Member(
            list_of(record_kind(SeenClaim)),
            lambda record, moment: _claims(get(record), moment.network),
            rule="claim_trie",
        ),
    }


def _prefilled(block: CmpctBlock) -> tuple[Tx, ...]:
    return tuple(each.tx for each in block.prefilled)


def _of_claim(name: str) -> Callable[[Any, Any], Any]:
    return lambda seen, _: getattr(seen.claim, name)


_INDEXES = Member(list_of(NUMBER), lambda record, _: record.indexes)
_BLOCK_ID = Member(HASH, lambda record, _: record.header.hash)

DERIVED: dict[type, dict[str, Member]] = {
    Tx: {
        "txid": Member(HASH, lambda tx, _: None if tx.is_mweb_only else tx.txid),
        "wtxid": Member(HASH, lambda tx, _: None if tx.is_mweb_only else tx.wtxid),
        **_of_transactions(lambda tx: (tx,)),
    },
    TxOut: {
        "address": Member(
            TEXT,
            lambda output, moment: (
                moment.network and output_address(output.script_pubkey, moment.network)
            ),
        ),
    },
    BlockHeader: {
        "hash": Member(HASH, lambda header, _: header.hash),
        "pow_hash": Member(
            HASH, lambda header, _: header.claim_trie and header.pow_hash, rule="claim_trie"
        ),
    },
    Block: {"hash": _BLOCK_ID, **_of_transactions(lambda block: block.transactions)},
    BlockTxn: _of_transactions(lambda answer: answer.transactions),
    MerkleBlock: {"hash": _BLOCK_ID},
    CmpctBlock: {"hash": _BLOCK_ID, "indexes": _INDEXES, **_of_transactions(_prefilled)},
    GetBlockTxn: {"indexes": _INDEXES},
    AddressV2: {"addr": Member(TEXT, lambda address, _: address.derived()["addr"])},
    Alert: {"alert": Member(record_kind(AlertBody), lambda alert, _: alert.body)},
    SeenClaim: {
        "txid": Member(msgspec.structs.replace(HASH, show=None), lambda seen, _: seen.txid),
        "output": Member(NUMBER, _of_claim("output")),
        "kind": Member(
            msgspec.structs.replace(TEXT, choices=("claim", "support", "update")), _of_claim("kind")
        ),
        "name": Member(TEXT, _of_claim("name")),
        "claim_id": Member(
            msgspec.structs.replace(HEX, show=None, digits=40, words="a claim id"),
            _of_claim("claim_id"),
        ),
        "value": Member(HEX, _of_claim("value")),
        "amount": Member(NUMBER, _of_claim("amount")),
        "address": Member(TEXT, lambda seen, _: seen.address),
    },
}


@functools.cache
def members_of(record: type) -> dict[str, Member]:
    """Give everything a filter can ask of a record, by name."""
    derived = DERIVED.get(record)
    return fields_of(record) | (_own(record) if derived is None else derived)


def _own(record: type) -> dict[str, Member]:
    """Give what a user's own record derives: its properties, whose kinds nobody knows."""
    if not issubclass(record, Record) or record.derived is Record.derived:
        return {}
    return {
        name: Member(ANYTHING, lambda value, _, name=name: value.derived().get(name))  # type: ignore[misc]
        for name in vars(record)
        if isinstance(vars(record)[name], property)
    }
