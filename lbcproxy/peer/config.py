"""The configuration of a peer."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

import msgspec

from lbcproxy import __version__
from lbcproxy.networks import Network
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.messages.handshake import NetAddress
from lbcproxy.wire.record import MessageRecord

__all__ = ["PeerConfig", "Policy", "StallMode", "Timeouts", "Transport"]


DEFAULT_TRICKLE = 10.0
MAX_USER_AGENT = 256
TOLERANT_VERSION = 70016
"""What Bitcoin Core and btcd speak today, and the line of lbcd that follows btcd."""


class Policy(Enum):
    """How a peer behaves towards the node at its other end."""

    TRANSPARENT = "transparent"
    """Deprecated: a peer that only passes bytes on is a `RelayPeer`."""
    TOLERANT = "tolerant"
    """As Bitcoin Core and btcd today: accepts what is offered, ignores what it does not know."""
    STRICT = "strict"
    """As lbcd: what is unexpected in the handshake, or unknown after it, ends the connection."""


class StallMode(Enum):
    """What is done about a node that does not answer."""

    ENFORCE = "enforce"
    """Disconnect."""
    LOG = "log"
    """Log it and keep waiting."""
    OFF = "off"
    """Do nothing."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """All times of a peer, in seconds."""

    negotiate: float = 30.0
    """For the whole handshake."""
    idle: float = 300.0
    """Without a complete message, before the node is disconnected."""
    ping: float = 120.0
    """Between our pings."""
    stall_tick: float = 15.0
    """Between checks for overdue answers."""
    answer: float = 30.0
    """For the answer to a request."""
    headers: float = 90.0
    """For the answer to `getheaders`."""
    callback: float = 3600.0
    """For an async callback to return."""
    write: float = 20.0
    """For the node to read what waits, and a second more for each 256 KiB of a message."""
    close: float = 5.0
    """For the node to read the last messages before the connection is aborted."""

    def __post_init__(self) -> None:
        """Raise ValueError for a time that is not positive and finite."""
        for name in self.__struct_fields__:
            seconds = getattr(self, name)
            if not 0 < seconds < math.inf:
                raise ValueError(f"timeouts.{name} must be a number of seconds above 0: {seconds}")


class PeerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is and how it behaves. The network has no default.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: A number is out of range. Both name the field.
    """

    network: Network
    """The network whose magic and limits apply, such as `networks.get("lbry-mainnet")`."""
    policy: Policy = Policy.TOLERANT
    """How the peer behaves towards the node."""
    transport: Transport = Transport.V1
    """How the connection carries messages: `V1`, `V2` or `AUTO`; V2 needs the extra `bip324`."""
    user_agent_name: str = ""
    """Our name in the user agent, after that of lbcproxy."""
    user_agent_version: str = ""
    """The version that follows the name."""
    user_agent_comments: tuple[str, ...] = ()
    """Comments in parentheses after name and version (BIP14)."""
    user_agent: bytes | None = None
    """The whole user agent, instead of one made from the three fields above."""
    services: int = 0
    """The service bits we signal."""
    protocol_version: int | None = None
    """The highest protocol version we speak; if None, that of the network's usual node, but with
    the tolerant policy at least 70016."""
    keepalive: bool = True
    """Whether we send pings and answer them by ourselves."""
    relay: bool = True
    """Whether the node may announce transactions before we load a filter."""
    offers: tuple[MessageRecord, ...] | None = None
    """The features offered between `version` and `verack`, if the negotiated version has them; if
    None, `sendaddrv2`. The strict policy offers nothing."""
    hold_verack: bool = False
    """Whether our `verack` is held until `Peer.send_verack`, or until `on_verack` has returned."""
    newest_block: Callable[[], tuple[bytes, int]] | None = None
    """Returns hash (32 bytes, in wire order) and height of our newest block, for our `version`."""
    host_to_address: Callable[[str, int, int], NetAddress] | None = None
    """Returns the address to send for a host, a port and services; if None, only IP addresses are
    sent."""
    proxy: str = ""
    """The SOCKS proxy ("host:port") that the connection uses. Its address is not sent."""
    trickle_interval: float = DEFAULT_TRICKLE
    """Seconds between announcements of transactions."""
    allow_self_connections: bool = False
    """For tests: accept a `version` with a nonce of our own."""
    stall: StallMode = StallMode.ENFORCE
    """What is done about a node that does not answer: `ENFORCE` disconnects, `LOG`, `OFF`."""
    timeouts: Timeouts = Timeouts()
    """All timeouts and intervals but `trickle_interval`."""
    most_queued: int = 96 * 1024 * 1024
    """Bytes of memory that queued messages may take, each counted with an overhead of 450; a node
    that lets more wait is disconnected."""
    most_inventory: int = 100_000
    """Announcements that may wait for the next batch; beyond that the oldest are dropped."""

    def __post_init__(self) -> None:
        """Check the fields, which would fail later otherwise."""
        for name, kind in KINDS.items():
            if not isinstance(getattr(self, name), kind):
                how = ', as networks.get("lbry-mainnet")' if kind is Network else ""
                given = getattr(self, name)
                raise TypeError(f"{name} must be a {kind.__name__}{how}, not {given!r}")
        if self.transport is Transport.OPAQUE:
            raise ValueError("transport must be V1, V2 or AUTO: a peer reads what it is sent")
        for name, (lowest, highest) in RANGES.items():
            number = getattr(self, name)
            if number is not None and not lowest <= number <= highest:
                raise ValueError(f"{name} must be from {lowest} to {highest}: {number}")

    @property
    def highest_version(self) -> int:
        """The highest protocol version we speak."""
        if self.protocol_version:
            return self.protocol_version
        usual = self.network.protocol_version
        return usual if self.policy is Policy.STRICT else max(usual, TOLERANT_VERSION)

    @property
    def trickle(self) -> float:
        """The trickle interval; the default if it is not positive."""
        return self.trickle_interval if self.trickle_interval > 0 else DEFAULT_TRICKLE

    def forgives(self, host: str) -> bool:
        """Whether a host may send malformed messages, as lbcd allows for its tests (M3)."""
        return self.network.id.endswith("-regtest") and host in ("127.0.0.1", "localhost")

    def full_user_agent(self) -> bytes:
        """Return the user agent as it is sent, without the user's part if that is too long."""
        if self.user_agent is not None:
            return self.user_agent
        ours = f"/lbcproxy:{__version__}/"
        if not self.user_agent_name:
            return ours.encode()
        comments = f"({'; '.join(self.user_agent_comments)})" if self.user_agent_comments else ""
        whole = f"{ours}{self.user_agent_name}:{self.user_agent_version}{comments}/".encode()
        return whole if len(whole) <= MAX_USER_AGENT else ours.encode()


KINDS = {
    "network": Network,
    "policy": Policy,
    "transport": Transport,
    "stall": StallMode,
    "timeouts": Timeouts,
}
RANGES = {
    "services": (0, 2**64 - 1),
    "protocol_version": (0, 2**31 - 1),
    "most_queued": (1, 2**63),
    "most_inventory": (0, 2**63),
}
