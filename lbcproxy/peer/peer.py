"""`Peer`: the Twisted protocol at one end of a connection to a node.

A thin shell: its core (`core.py`) processes the bytes, and the shell performs the effects that the
core returns. It writes, calls callbacks, and calls the core when something is due. A peer that only
passes bytes on is a `RelayPeer`.

Everything must be called in the reactor's thread; from others use `reactor.callFromThread`.
Callbacks may queue, push and disconnect on the same peer.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec
from twisted.internet.defer import Deferred, fail, succeed

from lbcproxy.clock import Clock
from lbcproxy.deprecated import renamed_parameters
from lbcproxy.peer.caches import PROCESS_NONCES, NonceCache
from lbcproxy.peer.config import PeerConfig, Policy
from lbcproxy.peer.effects import Log
from lbcproxy.peer.relay_peer import RelayPeer
from lbcproxy.peer.send_helpers import WITH_HASH, LocatorRequests, choose_addresses, make_reject
from lbcproxy.peer.shell import Shell
from lbcproxy.peer.statistics import PeerStatistics
from lbcproxy.peer.violations import REJECT_VERSION
from lbcproxy.session import Direction
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, TimedAddress
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.messages.inventory import InventoryVector
from lbcproxy.wire.record import MessageRecord

__all__ = ["Peer"]

VERSION_FIELDS = frozenset(
    {"user_agent_name", "user_agent_version", "user_agent_comments", "user_agent", "services"}
    | {"protocol_version", "relay", "newest_block", "host_to_address", "proxy"}
)
"""The fields of a config that our `version` is made from."""


class Peer(Shell):
    """One end of a connection to a node, behaving as the policy of its config says.

    `Peer` is a Twisted `Protocol`, for any endpoint, factory or transport. It makes no connections
    by itself.

    Args:
        config: What the peer is and how it behaves.
        clock: Twisted's reactor, or another `IReactorTime`.
        inbound: Whether the node connected to us. An outbound peer sends its `version` first.
        callbacks: The object whose methods are called with messages and events, see `callbacks.py`.
        address: The node's address, "host:port", if the transport's own is not to be shown.
        nonces: The cache by which self-connections are noticed; by default the whole process
            shares one.
        wall: Returns the time of day, in unix seconds.
        receives: The direction of the messages that arrive.

    Raises:
        TypeError: A callback is misspelt, or async where nobody would wait for it.
        ValueError: The address has no port.
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

    def __init__(
        self,
        config: PeerConfig,
        *,
        clock: Clock,
        inbound: bool = True,
        callbacks: object = None,
        address: str = "",
        nonces: NonceCache = PROCESS_NONCES,
        wall: Callable[[], float] = time.time,
        receives: Direction = Direction.TO_CLIENT,
    ) -> None:
        super().__init__(
            config,
            clock=clock,
            inbound=inbound,
            callbacks=callbacks,
            address=address,
            nonces=nonces,
            wall=wall,
            receives=receives,
        )
        self._requests = LocatorRequests()

    # State.

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is complete and the connection not ended."""
        return self.core.ready

    def snapshot(self) -> PeerStatistics:
        """Return everything that is counted and known at this moment, as a value."""
        core = self.core
        remote, keepalive, counters = core.remote, core.liveness.keepalive, core.counters
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

    # Requests of the user.

    def queue_message(self, record: MessageRecord, *, witness: bool = False) -> Deferred[bool]:
        """Queue a message.

        Args:
            record: The message.
            witness: Whether transactions are encoded with their witness.

        Returns:
            A Deferred that always fires: with True when the message was passed to the transport of
            an established connection, with False if it will not be sent. It fails with
            `wire.BadRecord` if the message cannot be encoded; the connection continues then.
        """
        ticket, sent = next(self._ticket), Deferred[bool]()
        self._tickets[ticket] = sent
        self._apply(self.core.queue(record, self._now(), witness=witness, ticket=ticket))
        return sent

    def send(self, record: MessageRecord, *, witness: bool = False) -> None:
        """Queue a message, as `queue_message` does, without a Deferred."""
        self._apply(self.core.queue(record, self._now(), witness=witness))

    def forward(self, command: str, raw: bytes) -> None:
        """Queue a whole frame, which is sent as it is."""
        self._apply(self.core.queue_raw(command, raw))

    def offer(self, command: str, raw: bytes) -> None:
        """Send a whole frame before our `verack`; it is not sent unless that is held."""
        self._apply(self.core.offer(command, raw, self._now()))

    def send_verack(self) -> None:
        """Send our `verack`, if it was held (`PeerConfig.hold_verack`)."""
        self._apply(self.core.send_verack(self._now()))

    def show(self, **changes: Any) -> None:
        """Change fields of the config that our own `version` is made from, before it is sent.

        With this an inbound peer can answer each node differently, in `on_version`.

        Raises:
            TypeError: A field does not affect our `version`.
        """
        if unknown := changes.keys() - VERSION_FIELDS:
            raise TypeError(f"not in our version: {', '.join(sorted(unknown))}")
        self.config = msgspec.structs.replace(self.config, **changes)
        self.core.configure(self.config)

    @renamed_parameters(thing="vector")
    def queue_inventory(self, vector: InventoryVector) -> None:
        """Announce a block at once, anything else with the next batch, unless the node has it."""
        self._apply(self.core.queue_inventory(vector, self._now()))

    @renamed_parameters(thing="vector")
    def add_known_inventory(self, vector: InventoryVector) -> None:
        """Record that the node has something."""
        self.core.inventory.add_known(vector)

    def update_last_block(self, height: int) -> None:
        """Record the height of the node. It never falls."""
        self.core.remote.last_block = max(height, self.core.remote.last_block or 0)

    def update_last_announced(self, block_hash: bytes | None) -> None:
        """Record the hash (32 bytes, in wire order) of the block that the node announced last."""
        self.core.remote.last_announced = block_hash

    def push_addr(self, addresses: Sequence[TimedAddress]) -> tuple[TimedAddress, ...]:
        """Send addresses, a random choice if there are more than 1,000; return those sent."""
        chosen = choose_addresses(addresses)
        if chosen:
            self.send(Addr(chosen))
        return chosen

    def push_addrv2(self, addresses: Sequence[AddressV2]) -> tuple[AddressV2, ...]:
        """Do the same with `addrv2`. Without `sendaddrv2` from the node none are sent."""
        chosen = choose_addresses(addresses) if self.core.handshake.wants_addrv2 else ()
        if chosen:
            self.send(AddrV2(chosen))
        return chosen

    def push_get_blocks(self, locator: Sequence[bytes], stop: bytes) -> bool:
        """Send `getblocks`, unless it is the same as the last one.

        Args:
            locator: Hashes of blocks that we have, the newest first (32 bytes, in wire order).
            stop: The hash of the last block wanted; zero for as many as possible.

        Returns:
            Whether it was sent.

        Raises:
            ValueError: There are more than 500 hashes.
        """
        return self._request(self._requests.get_blocks, locator, stop)

    def push_get_headers(self, locator: Sequence[bytes], stop: bytes) -> bool:
        """Send `getheaders`, unless it is the same as the last one; see `push_get_blocks`."""
        return self._request(self._requests.get_headers, locator, stop)

    def push_reject(
        self,
        command: str,
        code: int,
        reason: str,
        hash: bytes | None = None,  # noqa: A002
    ) -> Deferred[bool]:
        """Send a `reject`.

        Args:
            command: The command of the rejected message.
            code: A `RejectCode`.
            reason: For people.
            hash: The hash of a rejected `tx` or `block` (32 bytes, in wire order). Other commands
                have none.

        Returns:
            A Deferred as of `queue_message`; of False if the negotiated version has no `reject`.
        """
        if hash is None and command in WITH_HASH:
            self._log.write(Log("warn", f"no hash given to reject {command}, zero is sent"))
        if self.core.remote.version is not None and self.core.protocol_version < REJECT_VERSION:
            return succeed(False)
        try:
            return self.queue_message(make_reject(command, code, reason, hash))
        except BadRecord as error:
            return fail(error)

    def _request(
        self,
        make: Callable[[int, Sequence[bytes], bytes], MessageRecord | None],
        locator: Sequence[bytes],
        stop: bytes,
    ) -> bool:
        request = make(self.core.protocol_version, locator, stop)
        if request is None:
            self._log.write(Log("trace", "the same request as before is not sent again"))
            return False
        self.send(request)
        return True
