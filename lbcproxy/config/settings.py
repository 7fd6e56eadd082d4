"""Every setting, declared once: its name, type, default, bounds and help.

The checks of `config.yaml`, the options of `lbcproxy run` and the output of `lbcproxy options` are
derived from these declarations.
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

MAX_QUANTITY = 2.0**62
CLIENT_CHOOSES = tuple(kind for kind, mode in all_modes().items() if not mode.upstream)
"""Modes in which each client chooses where it connects to."""


class Duration(float):
    """A time in seconds, written as a number, `90 s`, `5 m`, `1 h` or `1 d`."""

    UNITS: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    EXAMPLES = "a time such as 30, 90 s, 5 m, 1 h or 1 d"


class Size(int):
    """A number of bytes, written as a number, `64 kB`, `100 MB`, `2 GB` or `64 MiB`."""

    UNITS: ClassVar = {
        "B": 1,
        **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
        **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
    }
    EXAMPLES = "a size such as 4096, 64 kB, 100 MB, 64 MiB or 2 GB"


def quantity(kind: type, given: object) -> Duration | Size:
    """Parse a Duration or a Size (a `dec_hook` of msgspec); raises ValueError."""
    if not issubclass(kind, Duration | Size):
        raise NotImplementedError(kind)
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", str(given))
    unit = None if found is None else kind.UNITS.get(found[2] or ("s" if kind is Duration else "B"))
    if isinstance(given, bool) or not isinstance(given, int | float | str) or unit is None:
        raise ValueError(f"Expected {kind.EXAMPLES}, got `{given}`")
    assert found is not None
    if not (amount := float(found[1]) * unit) < MAX_QUANTITY:
        raise ValueError(f"Expected {kind.EXAMPLES}, got more than {MAX_QUANTITY:g}")
    return kind(amount)


def _help(text: str, **bounds: Any) -> Any:
    return Meta(description=text, **bounds)


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of all proxies at the top of the file, or of one proxy inside it."""

    network: Annotated[
        str | None, _help("The chain: lbry-mainnet, lbry-regtest, bitcoin-mainnet, ...")
    ] = None
    magic: Annotated[
        str | None,
        _help("The magic of the network in hex, if it is not the usual one, such as `01020304`."),
    ] = None
    signet_challenge: Annotated[
        str | None,
        _help("The block script of a signet in hex (BIP325); its magic is derived from it."),
    ] = None
    record: Annotated[
        str | None,
        _help(
            "The file that sessions are recorded to; null records nothing. % and a letter are "
            "replaced as by strftime (UTC), {network}, {name} (of the proxy) and {session} by "
            "their values. Missing folders are created. An existing file is never overwritten; it "
            "is continued if its name contains no time and no {session}. If record_per is not "
            "run, the default name also contains {name} or {session}."
        ),
    ] = RECORD
    record_per: Annotated[
        Literal["run", "listener", "session"],
        _help(
            "What gets a file of its own: a run (all proxies of a network with the same recording "
            "settings share one), each listener, or each session."
        ),
    ] = "run"
    record_access: Annotated[
        Literal["owner", "group", "all"],
        _help(
            "Who may read the files and folders that recordings and rings create: only the owner "
            "(600 and 700), the group (640, 750), or everyone (644, 755), regardless of the umask. "
            "Existing files and folders keep their mode."
        ),
    ] = "owner"
    record_legs: Annotated[
        Literal["auto", "client", "both"],
        _help(
            "Which connections are recorded: the client's, or also the upstream's. auto means "
            "client as long as nothing can change a message, since both carry the same bytes then."
        ),
    ] = "auto"
    record_filter: Annotated[
        str | None,
        _help(
            "Record only messages that match this filter (docs/filters.md); null for all. With a "
            "filter, long messages are buffered until they are complete."
        ),
    ] = None
    rotate_size: Annotated[
        Size,
        _help(
            "Start a new file when one has this size; 0 for never. It starts between messages, and "
            "open sessions continue in it."
        ),
    ] = Size(0)
    rotate_every: Annotated[
        Duration,
        _help("Start a new file every 10 m, 1 h or 1 d, counted from midnight UTC; 0 for never."),
    ] = Duration(0)
    record_failure: Annotated[
        Literal["continue", "stop"],
        _help(
            "What happens if the disk is full or too slow. continue: traffic goes on, messages "
            "that are not recorded are counted and reported, and recording resumes when it can. "
            "stop: all sessions end."
        ),
    ] = "continue"
    record_on_demand: Annotated[
        bool,
        _help(
            "Record nothing until `lbcproxy record on` or the control API turns recording on. Both "
            "can also turn recording off and on without this setting."
        ),
    ] = False
    record_keep_size: Annotated[
        Size,
        _help(
            "Delete the oldest files of this recording when all of them together exceed this size; "
            "0 for never. The files of `ring_file` are counted separately. Other files, and files "
            "that are being written, are never deleted."
        ),
    ] = Size(0)
    record_keep_age: Annotated[
        Duration,
        _help("Delete files that have not been written for this long, such as 30 d; 0 for never."),
    ] = Duration(0)
    record_compress: Annotated[
        Literal["none", "gz", "zst"],
        _help(
            "Compress finished files: after a rotation, and those of earlier runs. zst is faster, "
            "but needs the package zstandard."
        ),
    ] = "none"
    ring: Annotated[
        int,
        _help(
            "Keep this many of the last messages of each session in memory, recorded or not, and "
            "write them to a file of their own when one of `ring_on` happens; 0 for none.",
            ge=0,
        ),
    ] = 0
    ring_size: Annotated[
        Size,
        _help(
            "The memory that the ring of one session may use; all rings count towards `memory`. A "
            "longer message is not kept."
        ),
    ] = Size(1 << 20)
    ring_file: Annotated[
        str, _help("The file that a ring is written to; its name is built like that of `record`.")
    ] = RING
    ring_on: Annotated[
        tuple[str, ...],
        _help(
            "The events that cause a ring to be written. "
            + " ".join(f"{name}: {words}." for name, words in REASONS.items())
        ),
    ] = DEFAULT_REASONS
    plugins: Annotated[
        tuple[str, ...],
        _help(
            "Plugins, in the order in which they are called: each a file, or the name of one that "
            "comes with lbcproxy, followed by its settings as NAME=VALUE."
        ),
    ] = ()
    plugin_failure: Annotated[
        Literal["open", "closed"],
        _help(
            "What happens to a message if a plugin fails or takes too long: open passes it on, "
            "closed drops it."
        ),
    ] = "open"
    plugin_timeout: Annotated[
        Duration, _help("The time limit for an asynchronous plugin to decide about a message.")
    ] = Duration(10)
    dial_timeout: Annotated[Duration, _help("The time limit for connecting to an upstream.")] = (
        Duration(30)
    )
    dial_retry: Annotated[
        Duration,
        _help(
            "For how long connecting to an upstream is retried, every half second, while the "
            "client waits, so that a node can restart. 0 for no retries."
        ),
    ] = Duration(0)
    handshake_timeout: Annotated[
        Duration | None,
        _help(
            "End a session whose handshake is not finished in this time; null for never. In mode "
            "terminate the default is 30 s."
        ),
    ] = None
    idle_timeout: Annotated[
        Duration | None,
        _help(
            "End a session without traffic for this time; null for never. In mode terminate the "
            "default is 300 s."
        ),
    ] = None
    client_transport: Annotated[
        Literal["auto", "v1", "v2", "opaque"],
        _help(
            "How the connection of the client carries messages. auto: as the client begins, "
            "encrypted (v2, BIP324) or not (v1). v2: clients that do not encrypt are disconnected. "
            "v1: what is encrypted is not read. opaque, for both connections: bytes pass as they "
            "came, and nothing is read. See docs/encrypted.md."
        ),
    ] = "auto"
    upstream_transport: Annotated[
        Literal["auto", "v1", "v2", "opaque"],
        _help(
            "How the connection to the upstream carries messages. auto: as that of the client, but "
            "v1 if the upstream cannot encrypt; in mode terminate v1. v2 and v1: always so, "
            "whatever the client does."
        ),
    ] = "auto"
    max_sessions: Annotated[
        int, _help("The maximum number of sessions of a proxy; further clients are refused.", ge=1)
    ] = MAX_SESSIONS
    max_sessions_per_address: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _help("The maximum number of sessions of one client address; null for no such limit."),
    ] = None
    user_agent: Annotated[
        str | None,
        _help(
            "Mode terminate: the user agent that both sides see; null for that of the other side."
        ),
    ] = None
    services: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _help("Mode terminate: the service bits that both sides see, such as 9."),
    ] = None
    protocol_version: Annotated[
        Annotated[int, Meta(ge=209, le=2**31 - 1)] | None,
        _help("Mode terminate: the protocol version that both sides see."),
    ] = None
    height: Annotated[
        Annotated[int, Meta(ge=0, le=2**31 - 1)] | None,
        _help("Mode terminate: the height that both sides see."),
    ] = None
    relay: Annotated[
        bool | None,
        _help(
            "Mode terminate: the relay flag that both sides see: whether transactions are wanted."
        ),
    ] = None
    pass_pings: Annotated[
        bool,
        _help("Mode terminate: pass pings on; otherwise the proxy answers them and sends its own."),
    ] = False
    socks_upstream: Annotated[
        str | None,
        _help(
            "Mode socks5: another SOCKS proxy to connect through, HOST:PORT, such as that of Tor. "
            "It resolves names."
        ),
    ] = None
    socks_allow: Annotated[
        tuple[str, ...],
        _help(
            "Mode socks5: where clients may connect to: networks such as 10.0.0.0/8, addresses, "
            "host names, .DOMAIN with its subdomains, private, loopback. Empty for anywhere."
        ),
    ] = ()
    socks_deny: Annotated[
        tuple[str, ...],
        _help(
            "Mode socks5: where clients may not connect to, in the same form; it takes precedence. "
            "It also applies to the addresses that a name resolves to."
        ),
    ] = ()


class Proxy(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One listener and its upstreams, with the settings that it overrides."""

    listen: Annotated[
        str | int,
        _help(
            "Where clients connect to: PORT or HOST:PORT. The default host is 127.0.0.1; port 0 "
            "picks a free port."
        ),
    ]
    upstream: Annotated[
        str | tuple[str, ...] | None,
        _help(
            "Where the proxy connects to for each client: HOST:PORT, with IPv6 as [::1]:9246, or a "
            "list of them, of which the first that answers is used. Names are resolved each time. "
            f"Left out in mode {' or '.join(CLIENT_CHOOSES)}, in which the client chooses."
        ),
    ] = None
    name: Annotated[
        str, _help("The name of the proxy in logs and file names. The default is NETWORK-PORT.")
    ] = ""
    mode: Annotated[
        str,
        _help(
            " ".join(f"{kind}: {mode.help}." for kind, mode in all_modes().items()),
            extra={"choices": tuple(all_modes())},
        ),
    ] = "reverse"
    enabled: Annotated[bool, _help("Whether the proxy listens.")] = True
    faults: Annotated[
        tuple[Fault, ...],
        _help(
            "Faults to inject, in the order in which they act, such as "
            "[{type: latency, attributes: {latency: 200}}]; see docs/faults.md.",
            extra={"choices": ("list of faults",)},
        ),
    ] = ()


class Config(Common, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a service."""

    proxies: Annotated[
        tuple[Proxy, ...],
        _help("The proxies, each with the address it listens at and its upstreams."),
    ]
    memory: Annotated[
        Size,
        _help(
            "The memory for the buffers of all sessions together: incomplete messages, bytes for "
            "an upstream that is not connected yet, and rings. Beyond it, the session that uses "
            "most has to give: its long messages pass without being decoded, its ring is emptied, "
            "or it is ended. Not included: up to 192 KiB for each connection to a slow node, and "
            "record_queue."
        ),
    ] = Size(MEMORY)
    record_queue: Annotated[
        Size, _help("How much may wait for the disk; beyond it messages are not recorded.")
    ] = Size(MAX_QUEUED)
    key_log: Annotated[
        str | None,
        _help(
            "The file to which the secrets of encrypted connections are appended, so that recorded "
            "bytes can be decrypted later (docs/encrypted.md); null for none. Anyone who reads it "
            "can read the connections; it is created with mode 600."
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warn", "error"], _help("The lowest level that is logged.")
    ] = "info"
    log_file: Annotated[
        str | None,
        _help(
            "The file for the log; null for the terminal of `lbcproxy run`, or the log of twistd. "
            "SIGHUP reopens it."
        ),
    ] = None
    log_json: Annotated[bool, _help("Log one JSON object per line.")] = False
    seed: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _help(
            "The seed of the random numbers that faults use: with the same seed, the same traffic "
            "gets the same faults. null picks one at start, which is logged."
        ),
    ] = None
    control: Annotated[
        str | int | None,
        _help(
            "Where the control API listens, which can change proxies and their faults: PORT (on "
            "127.0.0.1), HOST:PORT, or the path of a UNIX socket, which contains a slash; null for "
            "nowhere. There is no password."
        ),
    ] = None
