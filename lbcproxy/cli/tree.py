"""A record as a tree, with one field on each line, as `tshark -V` prints it.

The address and the claim of a transaction output are shown with that output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lbcproxy.networks import Network, output_address
from lbcproxy.text import printable
from lbcproxy.wire.claims import Claim, claims_of
from lbcproxy.wire.messages.transactions import Tx
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import MessageRecord

__all__ = ["tree"]

INDENT = "    "

Fields = dict[str, Any]
"""The fields of a record as `to_dict` returns them."""


def tree(record: MessageRecord | Partial, network: Network) -> list[str]:
    """Return the fields of a record as lines, indented under the line of the message.

    Args:
        record: A complete record, or one of which only the first fields could be decoded.
        network: The network, for addresses.
    """
    fields = record.to_dict()
    for tx, shown in _transactions(record, fields):
        _add_addresses_and_claims(tx, shown, network)
    lines = list(_lines(fields, 1))
    if record.trailing:
        lines.append(f"{INDENT}trailing: {record.trailing.hex()}")
    return lines


def _transactions(
    record: MessageRecord | Partial, fields: Fields
) -> Iterator[tuple[Tx | Partial, Fields]]:
    """Yield the transactions of a record, each with its fields."""
    if isinstance(record, Tx) or (isinstance(record, Partial) and record.kind is Tx):
        yield record, fields
    yield from zip(getattr(record, "transactions", ()), fields.get("transactions", ()), strict=True)
    for prefilled, shown in zip(
        getattr(record, "prefilled", ()), fields.get("prefilled", ()), strict=True
    ):
        yield prefilled.tx, shown["tx"]


def _add_addresses_and_claims(tx: Tx | Partial, shown: Fields, network: Network) -> None:
    claims: dict[int, Claim] = {}
    if network.rules.claim_trie and isinstance(tx, Tx):
        claims = {claim.output: claim for _, claim in claims_of((tx,))}
    for index, output in enumerate(getattr(tx, "outputs", ())):
        address = output_address(output.script_pubkey, network)
        if address is not None:
            shown["outputs"][index]["address"] = address
        if index in claims:
            shown["outputs"][index]["claim"] = claims[index].to_dict()


def _lines(fields: Fields, level: int) -> Iterator[str]:
    for name, value in fields.items():
        yield from _field(name, value, level)


def _field(name: str, value: object, level: int) -> Iterator[str]:
    indent = INDENT * level
    if isinstance(value, dict):
        yield f"{indent}{name}:"
        yield from _lines(value, level + 1)
    elif isinstance(value, list):
        yield f"{indent}{name}: {len(value)}"
        for index, element in enumerate(value):
            yield from _field(f"[{index}]", element, level + 1)
    else:
        yield f"{indent}{name}: {_plain(value)}"


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(str(value))
