"""Removes from a capture what identifies its nodes: addresses, user agents, nonces.

Equal values stay equal, so that a pong still has the nonce of its ping. Messages that change are
framed again. What cannot be decoded cannot be checked, and is removed. Every message is listed in
one of `REPLACED`, `KEPT` and `REMOVED`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from lbcproxy import networks
from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader, session_ended
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tools.pseudonyms import IPV6, Pseudonyms
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Delivery, Direction, Entry, Message, NodeStatistics, SessionInfo
from lbcproxy.session.events import Delivered, NotRecorded, SessionEnding
from lbcproxy.wire import Codec, Frame, Framer, Junk
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, TimedAddress
from lbcproxy.wire.messages.handshake import NetAddress, SendTxRcncl, Version
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.record import MessageRecord, Record

__all__ = ["KEPT", "REMOVED", "REPLACED", "Anonymiser"]

replace = msgspec.structs.replace
AnyRecord = TypeVar("AnyRecord", bound=Record)
IpRecord = TypeVar("IpRecord", NetAddress, TimedAddress)
Changes = dict[str, object]
Replacement = Callable[["Anonymiser", Any], Changes]
"""Returns the fields that have to change in a record; accepts only records of its own command."""


def _version(to: Anonymiser, record: Version) -> Changes:
    changes: Changes = {"addr_recv": to.ip(record.addr_recv)}
    if record.addr_from is not None:
        changes["addr_from"] = to.ip(record.addr_from)
    if record.user_agent:
        changes["user_agent"] = to.user_agent(record.user_agent)
    return {**changes, **_nonce(to, record)}


def _nonce(to: Anonymiser, record: Version | Ping | Pong) -> Changes:
    return {} if record.nonce is None else {"nonce": to.nonce(record.nonce)}


def _addr(to: Anonymiser, record: Addr) -> Changes:
    return {"addresses": tuple(map(to.ip, record.addresses))}


def _addrv2(to: Anonymiser, record: AddrV2) -> Changes:
    return {"addresses": tuple(map(to.address, record.addresses))}


def _salt(to: Anonymiser, record: SendTxRcncl) -> Changes:
    return {"salt": to.nonce(record.salt)}


def _reject(to: Anonymiser, record: Reject) -> Changes:
    """Keep plain words; anything else that a node says may identify someone."""
    changes: Changes = {}
    if not PLAIN.issuperset(record.reason):
        changes["reason"] = b"(left out)"
    if record.message.decode("latin-1") not in REPLACED.keys() | KEPT:
        changes["message"] = b"(left out)"
    to.left_out["words of reject"] += len(changes)
    return changes


PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ -_'")

REPLACED: dict[str, Replacement] = {
    "version": _version,
    "ping": _nonce,
    "pong": _nonce,
    "addr": _addr,
    "addrv2": _addrv2,
    "sendtxrcncl": _salt,
    "reject": _reject,
}
"""Commands whose records have fields that are replaced."""

KEPT = frozenset(
    {
        *("verack", "getaddr", "mempool", "sendheaders", "feefilter", "sendaddrv2", "wtxidrelay"),
        *("inv", "getdata", "notfound", "getblocks", "getheaders", "headers", "sendcmpct"),
        *("block", "tx", "merkleblock", "cmpctblock", "getblocktxn", "blocktxn"),
        *("getcfilters", "getcfheaders", "getcfcheckpt", "cfilter", "cfheaders", "cfcheckpt"),
        *("filterload", "filteradd", "filterclear"),
    }
)
"""Commands whose messages hold only what is on the chain."""
REVEALING = ("tx", "block", "cmpctblock", "blocktxn", "filterload", "filteradd")
"""Those of them that may reveal someone's own transactions; they are counted and reported."""

REMOVED = frozenset({"alert"})
"""Commands whose messages cannot be changed because they are signed."""


NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
DECIDED = re.compile(NAME.pattern + r": (?:drop|rewrite|delay|inject|close|no effect)\b")
"""The start of an item of a trail: who decided, and what."""


class Anonymiser:
    """Returns the events of a capture without what identifies its nodes, and counts the changes.

    `key` is 32 bytes. With the same key, equal values get equal pseudonyms.
    """

    def __init__(self, key: bytes) -> None:
        self._pseudonyms = Pseudonyms(key)
        self._infos: dict[int, tuple[SessionInfo, SessionInfo]] = {}
        self.changed: Counter[str] = Counter()
        """How often values were replaced, by kind."""
        self.left_out: Counter[str] = Counter()
        """What was removed, by kind."""
        self.kept: Counter[str] = Counter()
        """Values that were kept although they may reveal something, by kind."""
        self.messages = 0
        """How many messages are left."""

    def apply(self, events: Iterable[Event]) -> Iterator[Event]:
        """Return what is left of some events; raises what they raise."""
        for event in events:
            if isinstance(event, SectionHeader):
                self.left_out["comments and names of the file"] += len(event.metadata)
                self.left_out["comments and names of the file"] += len(event.comments)
                yield replace(event, metadata={}, comments=())
                continue
            if isinstance(event, NotRecorded) or event.info is None:
                yield event
                continue
            info = self._between(event.info)
            if isinstance(event, Delivered):
                deliveries = tuple(self._deliveries(event))
                if deliveries:
                    self.messages += sum(len(each.entries) for each in deliveries)
                    yield replace(event, info=info, deliveries=deliveries)
            elif isinstance(event, SessionEnding):
                self.left_out["details of ends"] += bool(event.end.detail)
                yield replace(event, info=info, end=replace(event.end, detail=""))
            elif isinstance(event, CaptureSessionEnded):
                report = self._report(event.report)
                yield session_ended(info, report, event.closed, event.time_ns)
                self._infos.pop(info.number, None)
            else:
                yield replace(event, info=info)

    # Values.

    def ip(self, record: IpRecord) -> IpRecord:
        """Return a record with another `ip`."""
        return self._with(record, "ip", record.ip, self._pseudonyms.address(IPV6, record.ip))

    def address(self, record: AddressV2) -> AddressV2:
        """Return an address of `addrv2` with another `addr`."""
        new = self._pseudonyms.address(record.network_id, record.addr)
        return self._with(record, "addr", record.addr, new)

    def nonce(self, value: int) -> int:
        """Return another nonce."""
        self.changed["nonces"] += 1
        return self._pseudonyms.nonce(value)

    def user_agent(self, agent: bytes) -> bytes:
        """Return another user agent."""
        self.changed["user agents"] += 1
        return self._pseudonyms.user_agent(agent)

    def _with(self, record: AnyRecord, name: str, old: bytes, new: bytes) -> AnyRecord:
        """Return a record with a new value of the field `name`, and count the change."""
        if new == old:
            self.kept["loopback and unspecified addresses"] += 1
            return record
        self.changed["addresses in messages"] += 1
        return replace(record, **{name: new})

    # Sessions.

    def _between(self, info: SessionInfo) -> SessionInfo:
        known = self._infos.get(info.number)
        if known is not None and known[0] is info:
            return known[1]
        local = None if info.local is None else self._pseudonyms.endpoint(info.local)
        new = replace(
            info,
            client=self._pseudonyms.endpoint(info.client),
            listen=self._pseudonyms.endpoint(info.listen),
            upstream=self._pseudonyms.endpoint(info.upstream),
            local=local,
        ).with_transports(info.transports.without_session_ids())
        self.left_out["session ids of transports"] += new.transports != info.transports
        if known is None:
            for before, after in (
                (info.client, new.client),
                (info.listen, new.listen),
                (info.upstream, new.upstream),
            ):
                self.changed["addresses of sessions"] += before != after
        self._infos[info.number] = info, new
        return new

    def _report(self, report: SessionReport) -> SessionReport:
        upstream = report.upstream
        if upstream is not None:
            try:
                upstream = str(self._pseudonyms.endpoint(Endpoint.parse(upstream)))
            except ValueError:
                upstream = self._pseudonyms.host(upstream)
        return replace(
            report,
            client=self._pseudonyms.endpoint(report.client),
            server=self._pseudonyms.endpoint(report.server),
            upstream=upstream,
            to_upstream=self._side(report.to_upstream),
            to_client=self._side(report.to_client),
            end=replace(report.end, detail=""),
            transports=report.transports.without_session_ids(),
        )

    def _side(self, side: NodeStatistics) -> NodeStatistics:
        agent = side.user_agent
        return replace(side, user_agent=agent and self._pseudonyms.user_agent(agent))

    # Messages.

    def _deliveries(self, event: Delivered) -> Iterator[Delivery]:
        for delivery in event.deliveries:
            if delivery.run is None:
                for entry in delivery.entries:
                    yield from self._delivery(entry, delivery)
                continue
            made = [self._message(entry.message) for entry in delivery.entries]
            if all(one is each.message for one, each in zip(made, delivery.entries, strict=True)):
                yield delivery
                continue
            for message, entry in zip(made, delivery.entries, strict=True):
                if message is not None:
                    yield Delivery(message.raw, (replace(entry, message=message),))

    def _delivery(self, entry: Entry, delivery: Delivery) -> Iterator[Delivery]:
        if entry.missing:
            yield delivery
            return
        if entry.message is None:
            self.left_out["bytes that are not a message"] += len(entry.junk)
            return
        message = self._message(entry.message)
        if message is None:
            return
        trail = self._trail(entry.trail)
        injected = not delivery.raw
        sent = delivery.sent
        if injected:
            sent = message.raw
        elif sent:
            sent = self._sent(sent, entry.direction, message.codec)
        self.left_out["comments of messages"] += len(entry.comments)
        new = replace(entry, message=message, trail=trail, comments=())
        yield Delivery(b"" if injected else message.raw, (new,), sent)

    def _sent(self, raw: bytes, direction: Direction, codec: Codec) -> bytes:
        """Return what was sent in place of a message, anonymised; it may be several messages."""
        framer = Framer(networks.get(codec.network.id))
        parts: list[bytes] = []
        for item in [*framer.feed(raw), *framer.close()]:
            if isinstance(item, Frame):
                one = Message(item.command, direction, item.raw, codec, error=item.error)
                made = self._message(one)
                parts.append(b"" if made is None else made.raw)
            elif isinstance(item, Junk):
                self.left_out["bytes that are not a message"] += len(item.raw)
        return b"".join(parts)

    def _message(self, message: Message | None) -> Message | None:
        """Return a message anonymised, itself if nothing changes, None if it is removed."""
        assert message is not None
        command, record = message.command, message.record
        if message.error is not None or not message.raw:
            self.left_out["messages that cannot be read"] += 1
            return None
        if record is None or not (command in REPLACED or command in KEPT):
            known = command in REMOVED
            self.left_out[f"{command} messages" if known else "messages of other commands"] += 1
            return None
        if command in REVEALING:
            self.kept[f"{command} messages"] += 1
        changes = REPLACED[command](self, record) if command in REPLACED else {}
        if record.trailing:
            self.left_out["trailing bytes"] += len(record.trailing)
            changes["trailing"] = b""
        if not changes:
            return message
        return self._framed(message, replace(record, **changes))

    def _framed(self, message: Message, record: MessageRecord) -> Message:
        codec = message.codec
        raw = frame(codec.network.magic, record.command, codec.encode(record))
        return Message(record.command, message.direction, raw, codec)

    def _trail(self, trail: tuple[str, ...]) -> tuple[str, ...]:
        """Keep who decided and what, one word each: reasons may say anything."""
        kept = tuple(found[0] for each in trail if (found := DECIDED.match(each)) is not None)
        if not kept and trail and NAME.fullmatch(trail[0]):
            kept = trail[:1]  # a mode, which gives no reason
        self.left_out["reasons of verdicts"] += sum(each not in kept for each in trail)
        return kept
