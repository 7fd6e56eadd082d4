"""What a peer is told when it is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

import msgspec

from lbcproxy import __version__
from lbcproxy.networks import Network
from lbcproxy.wire.messages.handshake import NetAddress
from lbcproxy.wire.record import MessageRecord

__all__ = ["PeerConfig", "Policy", "StallMode", "Timeouts"]


USUAL_TRICKLE = 10.0
MOST_USER_AGENT = 256


class Policy(Enum):
    """How a peer behaves towards the node at its other end."""

    TRANSPARENT = "transparent"
    """Deprecated: what only passes bytes on is a `RelayPeer`."""
    TOLERANT = "tolerant"
    """As Bitcoin Core and btcd now: agrees on what is offered, ignores what it does not know."""
    STRICT = "strict"
    """As lbcd: what is unexpected in the handshake, or unknown behind it, ends the connection."""


class StallMode(Enum):
    """What is done about a node that does not answer."""

    ENFORCE = "enforce"
    """Disconnect."""
    LOG = "log"
    """Say so, and wait on."""
    OFF = "off"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """All the times of a peer, in seconds."""

    negotiate: float = 30.0
    """For the whole handshake."""
    idle: float = 300.0
    """Without one complete message."""
    ping: float = 120.0
    """Between our pings."""
    stall_tick: float = 15.0
    """Between looks at what was not answered."""
    answer: float = 30.0
    """For an answer to a request."""
    headers: float = 90.0
    """For an answer to `getheaders`."""
    callback: float = 3600.0
    """For an async callback to end."""
    write: float = 20.0
    """For the node to read what waits, and a second more for each 256 KiB."""
    close: float = 5.0
    """For the node to read the last words before it is cut off."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no time to wait."""
        for name in self.__struct_fields__:
            seconds = getattr(self, name)
            if not 0 < seconds < math.inf:
                raise ValueError(f"timeouts.{name} must be a number of seconds above 0: {seconds}")


class PeerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is and how it behaves. A network must be chosen: there is no default."""

    network: Network
    """Whose magic and limits hold, as `networks.get("lbry-mainnet")`."""
    policy: Policy = Policy.TOLERANT
    """How it behaves towards the node."""
    user_agent_name: str = ""
    """What we are called, behind lbcproxy's own name."""
    user_agent_version: str = ""
    """The version of what we are called."""
    user_agent_comments: tuple[str, ...] = ()
    """Shown in parentheses behind name and version (BIP14)."""
    user_agent: bytes | None = None
    """The whole user agent, in place of what is made of the three above."""
    services: int = 0
    """The service bits we signal."""
    protocol_version: int | None = None
    """The highest we speak; left out, the highest of the network's usual node."""
    keepalive: bool = True
    """Whether we ping, and answer pings, by ourselves."""
    relay: bool = True
    """Whether the node may announce transactions before we load a filter."""
    offers: tuple[MessageRecord, ...] | None = None
    """What is offered between `version` and `verack`, of what the agreed version has; left out,
    `sendaddrv2`. The strict policy offers nothing."""
    hold_verack: bool = False
    """Whether our `verack` waits for `Peer.send_verack`, or for the end of `on_verack`."""
    newest_block: Callable[[], tuple[bytes, int]] | None = None
    """Gives hash and height of the newest block we have, for our `version`."""
    host_to_address: Callable[[str, int, int], NetAddress] | None = None
    """Gives the address we show of a host, a port and services; left out, only IP addresses are
    shown."""
    proxy: str = ""
    """The SOCKS proxy the connection goes through, so that its address is not shown."""
    trickle_interval: float = USUAL_TRICKLE
    """Seconds between announcements of transactions."""
    allow_self_connections: bool = False
    """For tests: do not mind a `version` with a nonce of our own."""
    stall: StallMode = StallMode.ENFORCE
    """What is done about a node that does not answer: `ENFORCE` disconnects, `LOG`, `OFF`."""
    timeouts: Timeouts = Timeouts()
    """All the times there are."""
    most_queued: int = 96 * 1024 * 1024
    """Bytes of memory that messages may take which wait to be sent, each counted with 450 of its
    own; a node that lets more wait is disconnected."""
    most_inventory: int = 100_000
    """Announcements that may wait for the next trickle; more are let go, the oldest first."""

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError, with the field's name, for what would fail later."""
        for name, kind in KINDS.items():
            if not isinstance(getattr(self, name), kind):
                how = ', as networks.get("lbry-mainnet")' if kind is Network else ""
                given = getattr(self, name)
                raise TypeError(f"{name} must be a {kind.__name__}{how}, not {given!r}")
        for name, (lowest, highest) in RANGES.items():
            number = getattr(self, name)
            if number is not None and not lowest <= number <= highest:
                raise ValueError(f"{name} must be from {lowest} to {highest}: {number}")

    @property
    def highest_version(self) -> int:
        """The highest protocol version we speak."""
        return self.protocol_version or self.network.protocol_version

    @property
    def trickle(self) -> float:
        """The trickle interval; one that is no time is the usual one."""
        return self.trickle_interval if self.trickle_interval > 0 else USUAL_TRICKLE

    def forgives(self, host: str) -> bool:
        """Whether what a host sends may be malformed, as lbcd allows for its tests (M3)."""
        return self.network.id.endswith("-regtest") and host in ("127.0.0.1", "localhost")

    def full_user_agent(self) -> bytes:
        """Give the user agent as it is sent: ours alone if it is too long with the user's."""
        if self.user_agent is not None:
            return self.user_agent
        ours = f"/lbcproxy:{__version__}/"
        if not self.user_agent_name:
            return ours.encode()
        comments = f"({'; '.join(self.user_agent_comments)})" if self.user_agent_comments else ""
        whole = f"{ours}{self.user_agent_name}:{self.user_agent_version}{comments}/".encode()
        return whole if len(whole) <= MOST_USER_AGENT else ours.encode()


KINDS = {"network": Network, "policy": Policy, "stall": StallMode, "timeouts": Timeouts}
RANGES = {
    "services": (0, 2**64 - 1),
    "protocol_version": (0, 2**31 - 1),
    "most_queued": (1, 2**63),
    "most_inventory": (0, 2**63),
}
