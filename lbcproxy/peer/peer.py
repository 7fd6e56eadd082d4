"""`Peer`: the Twisted protocol at one end of a connection to a node.

A thin shell: its core (`core.py`) takes the bytes, and the shell does what the core answers. It
writes, calls callbacks, and wakes the core when something is due. What only passes bytes on is a
`RelayPeer`.

Everything is to be called in the reactor's thread; from others, `reactor.callFromThread`.
Callbacks may queue, push and disconnect on the same peer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec
from twisted.internet.defer import Deferred, fail, succeed

from lbcproxy.peer.config import PeerConfig, Policy
from lbcproxy.peer.effects import Note
from lbcproxy.peer.relay_peer import RelayPeer
from lbcproxy.peer.send_helpers import WITH_HASH, Questions, make_reject, some_of
from lbcproxy.peer.shell import Shell
from lbcproxy.peer.statistics import PeerStatistics
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, TimedAddress
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.messages.inventory import InventoryVector
from lbcproxy.wire.record import MessageRecord

__all__ = ["Peer"]

SHOWN = frozenset(
    {"user_agent_name", "user_agent_version", "user_agent_comments", "user_agent", "services"}
    | {"protocol_version", "relay", "newest_block", "host_to_address", "proxy"}
)
"""The fields of a config from which our `version` is made."""
REJECTS = 70002
"""The lowest protocol version that has `reject`."""


class Peer(Shell):
    """One end of a connection to a node, behaving as its config's policy says.

    Whoever connects or listens makes the connection: `Peer` is a Twisted `Protocol`, for any
    endpoint, factory or transport.

    It takes `clock` (Twisted's `IReactorTime`), `callbacks` (see `callbacks.py`), whether it is
    `inbound`, and the `address` ("host:port") that an outbound one is connected to, if the
    transport's own is not to be shown. `nonces` is the cache by which it knows itself, shared by
    the process if left out; `wall` gives the time of day in unix seconds.
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Return a `RelayPeer` for the transparent policy, as before there was a class for it."""
        config = arguments[0] if arguments else options.get("config")
        if cls is not Peer or getattr(config, "policy", None) is not Policy.TRANSPARENT:
            return super().__new__(cls)
        owner = arguments[1] if len(arguments) > 1 else options.get("owner")
        if owner is None:
            raise TypeError("a transparent peer needs an owner")
        warnings.warn(
            "Peer with Policy.TRANSPARENT is deprecated, use RelayPeer(owner)",
            DeprecationWarning,
            stacklevel=2,
        )
        return RelayPeer(owner)  # type: ignore[return-value]

    def __init__(self, config: PeerConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self._questions = Questions()

    # What is known.

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is done and the connection there."""
        return self.core.ready

    def snapshot(self) -> PeerStatistics:
        """Give all that is counted and known, at this moment."""
        core = self.core
        remote, keepalive, counters = core.remote, core.sender.keepalive, core.counters
        version = remote.version
        return PeerStatistics(
            id=remote.id,
            address=str(self.address),
            inbound=core.inbound,
            services=None if version is None else version.services,
            user_agent=None if version is None else version.user_agent,
            version=None if version is None else version.version,
            protocol_version=core.protocol_version,
            starting_height=None if version is None else version.start_height,
            last_block=remote.last_block,
            last_announced=remote.last_announced,
            wants_headers=remote.wants_headers,
            wants_addrv2=core.handshake.wants_addrv2,
            wants_wtxids=core.handshake.wants_wtxids,
            has_witness=bool(remote.services & Service.WITNESS),
            time_offset=remote.time_offset,
            connected_at=self.connected_at,
            last_sent=counters.last_sent,
            last_received=counters.last_received,
            bytes_sent=counters.bytes_sent,
            bytes_received=counters.bytes_received,
            sent=counters.sent_by_command(),
            received=counters.received_by_command(),
            ping_nonce=keepalive.nonce,
            ping_at=keepalive.at,
            ping_seconds=keepalive.seconds,
            queued_bytes=core.sender.outbox.size,
        )

    # What a user does.

    def queue_message(self, record: MessageRecord, *, witness: bool = False) -> Deferred[bool]:
        """Send a message in its turn; `witness` says how transactions are encoded.

        The Deferred always fires: True when the message was handed to the transport of a
        connection that is there, False if it will not be sent; it fails with `wire.BadRecord` if
        it cannot be encoded, which costs the connection nothing.
        """
        ticket, sent = next(self._ticket), Deferred[bool]()
        self._tickets[ticket] = sent
        self._do(self.core.queue(record, self._now(), witness=witness, ticket=ticket))
        return sent

    def send(self, record: MessageRecord, *, witness: bool = False) -> None:
        """Do the same for who does not want to know what became of it."""
        self._do(self.core.queue(record, self._now(), witness=witness))

    def forward(self, command: str, raw: bytes) -> None:
        """Send a whole frame in its turn, as it is."""
        self._do(self.core.queue_raw(command, raw))

    def offer(self, command: str, raw: bytes) -> None:
        """Send a whole frame before our `verack`, which has to be held; else it is not sent."""
        self._do(self.core.offer(command, raw, self._now()))

    def send_verack(self) -> None:
        """Send our `verack`, if it was held (`PeerConfig.hold_verack`)."""
        self._do(self.core.send_verack(self._now()))

    def show(self, **changes: Any) -> None:
        """Change the config our own `version` is made from, if it is still to be sent.

        An inbound peer can so say what it is when it knows who asks: in `on_version`. Raises
        TypeError for a field that says nothing of it.
        """
        if strange := changes.keys() - SHOWN:
            raise TypeError(f"not in our version: {', '.join(sorted(strange))}")
        self.config = msgspec.structs.replace(self.config, **changes)
        self.core.show(self.config)

    def queue_inventory(self, thing: InventoryVector) -> None:
        """Announce something the node has not: a block at once, else with the next trickle."""
        self._do(self.core.queue_inventory(thing, self._now()))

    def add_known_inventory(self, thing: InventoryVector) -> None:
        """Take note that the node has something."""
        self.core.inventory.add_known(thing)

    def update_last_block(self, height: int) -> None:
        """Take note of the height the node has; it never falls."""
        self.core.remote.last_block = max(height, self.core.remote.last_block or 0)

    def update_last_announced(self, block_hash: bytes | None) -> None:
        """Take note of the block the node announced last."""
        self.core.remote.last_announced = block_hash

    def push_addr(self, addresses: Sequence[TimedAddress]) -> tuple[TimedAddress, ...]:
        """Send addresses, of more than 1,000 a fair choice; give those that were chosen."""
        chosen = some_of(addresses)
        if chosen:
            self.send(Addr(chosen))
        return chosen

    def push_addrv2(self, addresses: Sequence[AddressV2]) -> tuple[AddressV2, ...]:
        """Do the same with `addrv2`, if the node has asked for it; else send none."""
        chosen = some_of(addresses) if self.core.handshake.wants_addrv2 else ()
        if chosen:
            self.send(AddrV2(chosen))
        return chosen

    def push_get_blocks(self, locator: Sequence[bytes], stop: bytes) -> bool:
        """Ask for blocks; False if that was the last question. ValueError over 500 hashes."""
        return self._ask(self._questions.get_blocks, locator, stop)

    def push_get_headers(self, locator: Sequence[bytes], stop: bytes) -> bool:
        """Ask for headers; False if that was the last question. ValueError over 500 hashes."""
        return self._ask(self._questions.get_headers, locator, stop)

    def push_reject(
        self,
        command: str,
        code: int,
        reason: str,
        hash: bytes | None = None,  # noqa: A002
    ) -> Deferred[bool]:
        """Refuse a message; False if the node's version has no `reject`.

        Only the refusal of a `tx` or `block` has a hash, and must be given it.
        """
        if hash is None and command in WITH_HASH:
            self._log.note(Note("warn", f"no hash given to reject {command}, zero is sent"))
        if self.core.remote.version is not None and self.core.protocol_version < REJECTS:
            return succeed(False)
        try:
            return self.queue_message(make_reject(command, code, reason, hash))
        except BadRecord as error:
            return fail(error)

    def _ask(self, make: Callable[..., Any], locator: Sequence[bytes], stop: bytes) -> bool:
        question = make(self.core.protocol_version, locator, stop)
        if question is None:
            self._log.note(Note("trace", "the same question as before is not asked again"))
            return False
        self.send(question)
        return True
