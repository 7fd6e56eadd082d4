"""A record as a tree for people, one field a line, as `tshark -V` prints it.

What LBRY people look for stands with the output it is about: its address, and its claim.
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


def tree(record: MessageRecord | Partial, network: Network) -> list[str]:
    """Give the lines of a record's fields, indented under the message's own line.

    Of a record that was read in part, the fields that were read.
    """
    fields = record.to_dict()
    for tx, shown in _transactions(record, fields):
        _explain(tx, shown, network)
    lines = list(_lines(fields, 1))
    if record.trailing:
        lines.append(f"{INDENT}trailing: {record.trailing.hex()}")
    return lines


def _transactions(
    record: Any, fields: dict[str, Any]
) -> Iterator[tuple[Tx | Partial, dict[str, Any]]]:
    if isinstance(record, Tx) or (isinstance(record, Partial) and record.kind is Tx):
        yield record, fields
    yield from zip(getattr(record, "transactions", ()), fields.get("transactions", ()), strict=True)
    for prefilled, shown in zip(
        getattr(record, "prefilled", ()), fields.get("prefilled", ()), strict=True
    ):
        yield prefilled.tx, shown["tx"]


def _explain(tx: Tx | Partial, shown: dict[str, Any], network: Network) -> None:
    claims: dict[int, Claim] = {}
    if network.rules.claim_trie and isinstance(tx, Tx):
        claims = {claim.output: claim for _, claim in claims_of((tx,))}
    for index, output in enumerate(getattr(tx, "outputs", ())):
        address = output_address(output.script_pubkey, network)
        if address is not None:
            shown["outputs"][index]["address"] = address
        if index in claims:
            shown["outputs"][index]["claim"] = claims[index].to_dict()


def _lines(fields: dict[str, Any], level: int) -> Iterator[str]:
    for name, value in fields.items():
        yield from _field(name, value, level)


def _field(name: str, value: Any, level: int) -> Iterator[str]:
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


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(str(value))
