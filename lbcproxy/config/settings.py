"""Every setting, declared once: its name, type, default, bounds and help.

From here come the checks of `config.yaml`, the flags of `lbcproxy run`, and `lbcproxy options`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from lbcproxy.capture import DEFAULT_REASONS, MAX_QUEUED, REASONS
from lbcproxy.faults import Fault
from lbcproxy.proxy import MAX_SESSIONS, MEMORY
from lbcproxy.proxy.modes import all_modes

__all__ = ["Common", "Config", "Duration", "Proxy", "Size", "quantity"]

RECORD = "captures/%Y%m%d-%H%M%S-{network}.pcapng"
RECORD_LISTENER = "captures/%Y%m%d-%H%M%S-{network}-{name}.pcapng"
RECORD_SESSION = "captures/%Y%m%d-%H%M%S-{network}-{session}.pcapng"
RING = "captures/ring-%Y%m%d-%H%M%S-{network}-{session}.pcapng"

MOST = 2.0**62
SELF_LED = tuple(kind for kind, mode in all_modes().items() if not mode.upstream)
"""Modes to which nobody says where they lead."""


class Duration(float):
    """A time in seconds; written as a number, or as `90 s`, `5 m`, `1 h`, `1 d`."""

    UNITS: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    KIND = "a time as 30, 90 s, 5 m, 1 h or 1 d"


class Size(int):
    """A number of bytes; written as a number, or as `64 kB`, `100 MB`, `2 GB`, `64 MiB`."""

    UNITS: ClassVar = {
        "B": 1,
        **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
        **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
    }
    KIND = "a size as 4096, 64 kB, 100 MB, 64 MiB or 2 GB"


def quantity(kind: Any, given: object) -> Any:
    """Read a Duration or Size (msgspec's `dec_hook`); raises ValueError."""
    if kind not in (Duration, Size):
        raise NotImplementedError(kind)
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", str(given))
    unit = None if found is None else kind.UNITS.get(found[2] or ("s" if kind is Duration else "B"))
    if isinstance(given, bool) or not isinstance(given, int | float | str) or unit is None:
        raise ValueError(f"Expected {kind.KIND}, got `{given}`")
    assert found is not None
    if not (amount := float(found[1]) * unit) < MOST:
        raise ValueError(f"Expected {kind.KIND}, got more than {MOST:g}")
    return kind(amount)


def _help(text: str, **bounds: Any) -> Any:
    return Meta(description=text, **bounds)


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for all proxies where it stands at the top, for one where it stands there."""

    network: Annotated[
        str | None, _help("The chain: lbry-mainnet, lbry-regtest, bitcoin-mainnet and so on.")
    ] = None
    magic: Annotated[
        str | None,
        _help("The network's magic in hexadecimal, where it is another than usual, as `01020304`."),
    ] = None
    signet_challenge: Annotated[
        str | None,
        _help("The block script of a signet in hexadecimal (BIP325), of which its magic follows."),
    ] = None
    record: Annotated[
        str | None,
        _help(
            "The file that sessions are recorded into; null records nothing. % and a letter are "
            "filled in as strftime does (UTC), {network}, {name} (the proxy's) and {session} with "
            "what they say; folders are made. A file that is there is continued if nothing but "
            "{network} and {name} is filled in, and never written over. Where record_per is not "
            "run, the default has {name} or {session} in it as well."
        ),
    ] = RECORD
    record_per: Annotated[
        Literal["run", "listener", "session"],
        _help(
            "What has a file of its own: all proxies of a network with the same recording "
            "settings together, each listener, or each session."
        ),
    ] = "run"
    record_access: Annotated[
        Literal["owner", "group", "all"],
        _help(
            "Who may read the files and folders that recording makes, rings too: their owner alone "
            "(600 and 700), the group (640, 750), or all (644, 755), whatever the umask is. What "
            "is there already keeps its mode."
        ),
    ] = "owner"
    record_legs: Annotated[
        Literal["auto", "client", "both"],
        _help(
            "The connections that are recorded: the client's, or the upstream's too. auto is "
            "client while nothing can change a message: the other would be the same bytes again."
        ),
    ] = "auto"
    record_filter: Annotated[
        str | None,
        _help(
            "Record only messages that match this filter (docs/filters.md); null for all. Long "
            "messages are then held until they are whole."
        ),
    ] = None
    rotate_size: Annotated[
        Size,
        _help(
            "Begin a new file when one is this long; 0 for never. It is begun where no message is "
            "under way, and open sessions go on in it."
        ),
    ] = Size(0)
    rotate_every: Annotated[
        Duration,
        _help("Begin a new file each 10 m, 1 h or 1 d, counted from midnight UTC; 0 for never."),
    ] = Duration(0)
    record_failure: Annotated[
        Literal["continue", "stop"],
        _help(
            "What a disk that is full or too slow means: traffic goes on, what is not recorded is "
            "counted and told, and recording goes on when the disk does; or all sessions end."
        ),
    ] = "continue"
    record_on_demand: Annotated[
        bool,
        _help(
            "Record nothing until it is asked for: by `lbcproxy record on`, or the control API. "
            "Both switch recording off and on again without it, too."
        ),
    ] = False
    record_keep_size: Annotated[
        Size,
        _help(
            "Delete the oldest files when all that this recording has made are together longer "
            "than this; 0 for never. So with those of `ring_file`, by themselves. Files of others "
            "and files that are being written are never deleted."
        ),
    ] = Size(0)
    record_keep_age: Annotated[
        Duration,
        _help("Delete files that were written last so long ago, as 30 d; 0 for never."),
    ] = Duration(0)
    record_compress: Annotated[
        Literal["none", "gz", "zst"],
        _help(
            "Compress files when they are whole: behind a rotation, and those of an earlier run. "
            "zst is faster, and needs the package zstandard."
        ),
    ] = "none"
    ring: Annotated[
        int,
        _help(
            "Keep the last so many messages of each session in memory, recorded or not, and write "
            "them into a file of their own when something happens to it; 0 for none.",
            ge=0,
        ),
    ] = 0
    ring_size: Annotated[
        Size,
        _help(
            "The memory that one session's ring may take; all of them count in `memory`. What is "
            "longer than this is not kept."
        ),
    ] = Size(1 << 20)
    ring_file: Annotated[
        str, _help("The file that a ring is written into; filled in as `record` is.")
    ] = RING
    ring_on: Annotated[
        tuple[str, ...],
        _help(
            "When a ring is written. "
            + " ".join(f"{name}: {words}." for name, words in REASONS.items())
        ),
    ] = DEFAULT_REASONS
    plugins: Annotated[
        tuple[str, ...],
        _help(
            "Plugins, asked in this order: a file, or the name of one that comes with lbcproxy, "
            "and its settings as NAME=VALUE."
        ),
    ] = ()
    plugin_failure: Annotated[
        Literal["open", "closed"],
        _help(
            "What becomes of a message whose plugin fails or takes too long: open, it passes; "
            "closed, it does not."
        ),
    ] = "open"
    plugin_timeout: Annotated[
        Duration, _help("How long a plugin that waits for something may take over a message.")
    ] = Duration(10)
    dial_timeout: Annotated[Duration, _help("How long connecting to an upstream may take.")] = (
        Duration(30)
    )
    dial_retry: Annotated[
        Duration,
        _help(
            "How long an upstream that does not answer is tried again, each half second, for a "
            "client that waits: a node that restarts is there when it is back. 0 for not at all."
        ),
    ] = Duration(0)
    handshake_timeout: Annotated[
        Duration | None,
        _help(
            "End a session whose nodes have not finished their handshake in this time; null for "
            "never, since a tap does not judge. In mode terminate it is 30 s if not set."
        ),
    ] = None
    idle_timeout: Annotated[
        Duration | None,
        _help(
            "End a session in which not a byte has passed for this time; null for never. In mode "
            "terminate it is 300 s if not set."
        ),
    ] = None
    max_sessions: Annotated[
        int, _help("How many sessions a proxy may have; further clients are refused.", ge=1)
    ] = MAX_SESSIONS
    max_sessions_per_address: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _help("How many of them one address may have; null for no bound of its own."),
    ] = None
    user_agent: Annotated[
        str | None,
        _help("Mode terminate: the user agent both sides are shown; null for each other's."),
    ] = None
    services: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _help("Mode terminate: the service bits both sides are shown, as 9."),
    ] = None
    protocol_version: Annotated[
        Annotated[int, Meta(ge=209, le=2**31 - 1)] | None,
        _help("Mode terminate: the version both sides are shown."),
    ] = None
    height: Annotated[
        Annotated[int, Meta(ge=0, le=2**31 - 1)] | None,
        _help("Mode terminate: the height both sides are shown."),
    ] = None
    relay: Annotated[
        bool | None,
        _help("Mode terminate: whether both sides are told that transactions are wanted."),
    ] = None
    pass_pings: Annotated[
        bool,
        _help("Mode terminate: pass pings on; otherwise we answer them and ping ourselves."),
    ] = False
    socks_upstream: Annotated[
        str | None,
        _help(
            "Mode socks5: the SOCKS proxy that clients are led through, HOST:PORT, as that of Tor. "
            "Names are looked up there."
        ),
    ] = None
    socks_allow: Annotated[
        tuple[str, ...],
        _help(
            "Mode socks5: where clients may be led: networks as 10.0.0.0/8, addresses, host "
            "names, .DOMAIN with all below it, private, loopback. Left out, anywhere."
        ),
    ] = ()
    socks_deny: Annotated[
        tuple[str, ...],
        _help(
            "Mode socks5: where clients may not be led, in the same words; it takes precedence. "
            "The addresses of a name are held to it too."
        ),
    ] = ()


class Proxy(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One listener and where it leads, with everything of the top that is not to hold for it."""

    listen: Annotated[
        str | int,
        _help(
            "Where clients connect: PORT, or HOST:PORT; without a host 127.0.0.1, other addresses "
            "must be said. Port 0 picks one."
        ),
    ]
    upstream: Annotated[
        str | tuple[str, ...] | None,
        _help(
            "Where they are led: HOST:PORT, IPv6 as [::1]:9246. Of several, as [HOST:PORT, "
            "HOST:PORT], to the first that answers, for each client anew; names are looked up each "
            f"time. Left out in mode {' or '.join(SELF_LED)}: clients say it themselves."
        ),
    ] = None
    name: Annotated[
        str, _help("What it is called in logs and files; NETWORK-PORT if left out.")
    ] = ""
    mode: Annotated[
        str,
        _help(
            " ".join(f"{kind}: {mode.help}." for kind, mode in all_modes().items()),
            extra={"choices": tuple(all_modes())},
        ),
    ] = "reverse"
    enabled: Annotated[bool, _help("Whether it listens at all.")] = True
    faults: Annotated[
        tuple[Fault, ...],
        _help(
            "What goes wrong on purpose, as [{type: latency, attributes: {latency: 200}}]: see "
            "docs/faults.md. In the order in which bytes meet them.",
            extra={"choices": ("list of faults",)},
        ),
    ] = ()


class Config(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings."""

    proxies: Annotated[tuple[Proxy, ...], _help("The proxies: what listens, and where it leads.")]
    memory: Annotated[
        Size,
        _help(
            "What all sessions together may hold: messages that are not whole yet, bytes that wait "
            "for an upstream that is being dialled, and rings. Whoever holds most gives way: its "
            "long messages pass unread, its ring is emptied, or it ends. Not in it: up to 192 KiB "
            "a connection that a slow node has not read, and record_queue."
        ),
    ] = Size(MEMORY)
    record_queue: Annotated[
        Size, _help("What may wait for the disk; beyond it nothing more is recorded for a while.")
    ] = Size(MAX_QUEUED)
    log_level: Annotated[
        Literal["debug", "info", "warn", "error"], _help("The least that is logged.")
    ] = "info"
    log_file: Annotated[
        str | None,
        _help(
            "Where it is logged; null is the terminal of `lbcproxy run`, or twistd's own log. "
            "SIGHUP opens it anew."
        ),
    ] = None
    log_json: Annotated[bool, _help("Log one JSON object a line.")] = False
    seed: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _help(
            "What the chances of faults are made of: the same seed gives the same faults to the "
            "same traffic. null picks one at start, and the log tells it."
        ),
    ] = None
    control: Annotated[
        str | int | None,
        _help(
            "Where the control API listens, which changes proxies and their faults: PORT (of "
            "127.0.0.1), HOST:PORT, or the path of a UNIX socket, with a slash in it; null is "
            "nowhere. Whoever reaches it needs no password."
        ),
    ] = None
