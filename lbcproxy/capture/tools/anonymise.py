"""A capture without what tells who spoke: addresses, user agents, nonces.

What is the same stays the same, so that pings still meet their pongs, and messages are framed anew
where they change. What cannot be read cannot be judged, and is left out. `CHANGED`, `AS_IT_IS` and
`LEFT_OUT` say of every message which it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from lbcproxy import networks
from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader, session_ended
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tools.pseudonyms import Disguise
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Delivery, Direction, Entry, Message, NodeStatistics, SessionInfo
from lbcproxy.session.events import Delivered, NotRecorded, SessionEnding
from lbcproxy.wire import Codec, Frame, Framer, Junk
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.record import MessageRecord

__all__ = ["AS_IT_IS", "CHANGED", "LEFT_OUT", "Anonymiser"]

replace = msgspec.structs.replace
Change = Callable[["Anonymiser", Any], dict[str, Any]]


def _version(to: Anonymiser, record: Any) -> dict[str, Any]:
    changes: dict[str, Any] = {"addr_recv": to.ip(record.addr_recv)}
    if record.addr_from is not None:
        changes["addr_from"] = to.ip(record.addr_from)
    if record.user_agent:
        changes["user_agent"] = to.user_agent(record.user_agent)
    return {**changes, **_nonce(to, record)}


def _nonce(to: Anonymiser, record: Any) -> dict[str, Any]:
    return {} if record.nonce is None else {"nonce": to.nonce(record.nonce)}


def _addr(to: Anonymiser, record: Any) -> dict[str, Any]:
    return {"addresses": tuple(map(to.ip, record.addresses))}


def _addrv2(to: Anonymiser, record: Any) -> dict[str, Any]:
    return {"addresses": tuple(map(to.address, record.addresses))}


def _salt(to: Anonymiser, record: Any) -> dict[str, Any]:
    return {"salt": to.nonce(record.salt)}


def _reject(to: Anonymiser, record: Any) -> dict[str, Any]:
    """Keep plain words; what else a node says may be about anybody."""
    changes = {}
    if not PLAIN.issuperset(record.reason):
        changes["reason"] = b"(left out)"
    if record.message.decode("latin-1") not in CHANGED.keys() | AS_IT_IS:
        changes["message"] = b"(left out)"
    to.left_out["words of reject"] += len(changes)
    return changes


PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ -_'")

CHANGED: dict[str, Change] = {
    "version": _version,
    "ping": _nonce,
    "pong": _nonce,
    "addr": _addr,
    "addrv2": _addrv2,
    "sendtxrcncl": _salt,
    "reject": _reject,
}
"""What has to change in a record, by its command."""

AS_IT_IS = frozenset(
    {
        *("verack", "getaddr", "mempool", "sendheaders", "feefilter", "sendaddrv2", "wtxidrelay"),
        *("inv", "getdata", "notfound", "getblocks", "getheaders", "headers", "sendcmpct"),
        *("block", "tx", "merkleblock", "cmpctblock", "getblocktxn", "blocktxn"),
        *("getcfilters", "getcfheaders", "getcfcheckpt", "cfilter", "cfheaders", "cfcheckpt"),
        *("filterload", "filteradd", "filterclear"),
    }
)
"""What tells nothing but what the chain tells."""
TELLING = ("tx", "block", "cmpctblock", "blocktxn", "filterload", "filteradd")
"""Of these, what may tell somebody's own transactions all the same: it is counted, and said."""

LEFT_OUT = frozenset({"alert"})
"""What cannot be changed, since it is signed."""


NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
DECIDED = re.compile(NAME.pattern + r": (?:drop|rewrite|delay|inject|close)\b")
"""Who decided, and what, of an item of a trail."""


class Anonymiser:
    """Gives the events of a capture without what tells who spoke, and counts what that took.

    `key` is 32 bytes: what is mapped with the same key is mapped to the same.
    """

    def __init__(self, key: bytes) -> None:
        self._disguise = Disguise(key)
        self._facts: dict[int, tuple[SessionInfo, SessionInfo]] = {}
        self.changed: Counter[str] = Counter()
        """What was replaced, by kind."""
        self.left_out: Counter[str] = Counter()
        """What was left out."""
        self.as_it_is: Counter[str] = Counter()
        """Messages that were kept and may tell something, by command."""
        self.messages = 0
        """How many are left."""

    def of(self, events: Iterable[Event]) -> Iterator[Event]:
        """Give what is left of some events; raises what they raise."""
        for event in events:
            if isinstance(event, SectionHeader):
                self.left_out["comments and names of the file"] += len(event.metadata)
                self.left_out["comments and names of the file"] += len(event.comments)
                yield replace(event, metadata={}, comments=())
                continue
            if isinstance(event, NotRecorded) or event.info is None:
                yield event
                continue
            facts = self._between(event.info)
            if isinstance(event, Delivered):
                deliveries = tuple(self._deliveries(event))
                if deliveries:
                    self.messages += sum(len(each.entries) for each in deliveries)
                    yield replace(event, info=facts, deliveries=deliveries)
            elif isinstance(event, SessionEnding):
                self.left_out["details of ends"] += bool(event.end.detail)
                yield replace(event, info=facts, end=replace(event.end, detail=""))
            elif isinstance(event, CaptureSessionEnded):
                report = self._report(event.report)
                yield session_ended(facts, report, event.closed, event.time_ns)
                self._facts.pop(facts.number, None)
            else:
                yield replace(event, info=facts)

    # Values.

    def ip(self, record: Any) -> Any:
        """Give a record with another `ip`."""
        return self._with(record, "ip", self._disguise.address(2, record.ip))

    def address(self, record: Any) -> Any:
        """Give an address of `addrv2` with another `addr`."""
        return self._with(record, "addr", self._disguise.address(record.network_id, record.addr))

    def nonce(self, value: int) -> int:
        """Give another nonce."""
        self.changed["nonces"] += 1
        return self._disguise.nonce(value)

    def user_agent(self, agent: bytes) -> bytes:
        """Give another user agent."""
        self.changed["user agents"] += 1
        return self._disguise.user_agent(agent)

    def _with(self, record: Any, name: str, new: bytes) -> Any:
        if new == getattr(record, name):
            self.as_it_is["loopback and unspecified addresses"] += 1
            return record
        self.changed["addresses in messages"] += 1
        return replace(record, **{name: new})

    # Sessions.

    def _between(self, facts: SessionInfo) -> SessionInfo:
        known = self._facts.get(facts.number)
        if known is not None and known[0] is facts:
            return known[1]
        local = None if facts.local is None else self._disguise.endpoint(facts.local)
        new = replace(
            facts,
            client=self._disguise.endpoint(facts.client),
            listen=self._disguise.endpoint(facts.listen),
            upstream=self._disguise.endpoint(facts.upstream),
            local=local,
        )
        if known is None:
            for before, after in (
                (facts.client, new.client),
                (facts.listen, new.listen),
                (facts.upstream, new.upstream),
            ):
                self.changed["addresses of sessions"] += before != after
        self._facts[facts.number] = facts, new
        return new

    def _report(self, report: SessionReport) -> SessionReport:
        upstream = report.upstream
        if upstream is not None:
            try:
                upstream = str(self._disguise.endpoint(Endpoint.parse(upstream)))
            except ValueError:
                upstream = self._disguise.host(upstream)
        return replace(
            report,
            client=self._disguise.endpoint(report.client),
            server=self._disguise.endpoint(report.server),
            upstream=upstream,
            to_upstream=self._side(report.to_upstream),
            to_client=self._side(report.to_client),
            end=replace(report.end, detail=""),
        )

    def _side(self, side: NodeStatistics) -> NodeStatistics:
        agent = side.user_agent
        return replace(side, user_agent=agent and self._disguise.user_agent(agent))

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
            self.left_out["bytes that are no message"] += len(entry.junk)
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
        """Change what went out in place of a message: any number of messages, or none."""
        framer = Framer(networks.get(codec.network.id))
        parts = []
        for item in [*framer.feed(raw), *framer.close()]:
            if isinstance(item, Frame):
                one = Message(item.command, direction, item.raw, codec, error=item.error)
                made = self._message(one)
                parts.append(b"" if made is None else made.raw)
            elif isinstance(item, Junk):
                self.left_out["bytes that are no message"] += len(item.raw)
        return b"".join(parts)

    def _message(self, message: Message | None) -> Message | None:
        """Give a message as it may be told, itself if it may; None if it may not."""
        assert message is not None
        command, record = message.command, message.record
        if message.error is not None or not message.raw:
            self.left_out["messages that cannot be read"] += 1
            return None
        if record is None or not (command in CHANGED or command in AS_IT_IS):
            known = command in LEFT_OUT
            self.left_out[f"{command} messages" if known else "messages of other commands"] += 1
            return None
        if command in TELLING:
            self.as_it_is[f"{command} messages"] += 1
        changes = CHANGED[command](self, record) if command in CHANGED else {}
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
        """Keep who decided and what, in a word each: reasons may say anything."""
        kept = tuple(found[0] for each in trail if (found := DECIDED.match(each)) is not None)
        kept = kept or trail[: bool(trail and NAME.fullmatch(trail[0]))]  # a mode, without a word
        self.left_out["reasons of verdicts"] += sum(each not in kept for each in trail)
        return kept
