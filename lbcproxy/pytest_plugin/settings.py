"""The settings of a test: from the fixture `lbcproxy_config`, overridden by marks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.endpoint import Endpoint
from lbcproxy.json_types import JsonObject
from lbcproxy.networks import Network
from lbcproxy.transport.kind import Transport

__all__ = ["MODES", "SUFFIX", "UNKNOWN", "Settings", "capture_path", "settings_of", "shown_path"]

MODES = ("none", "once", "new_episodes", "all", "rewrite")
UNKNOWN = ("fail", "silence", "notfound")
TRANSPORTS = (Transport.AUTO, Transport.V1, Transport.V2)
SUFFIX = ".pcapng"
LONGEST = 120
"""Maximum number of characters of a file name that is derived from a test's name."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of `@pytest.mark.capture(...)` and `lbcproxy_config`."""

    network: str | None = None
    """The network's id; required for recording and scripted peers, and for captures of other
    programs, if they do not say it."""
    upstream: str | None = None
    """HOST:PORT of the real node that is recorded."""
    record_mode: str = "none"
    """One of `MODES`; the command line takes precedence."""
    session: int | None = None
    """The session of the capture that every client gets; None to assign sessions in order."""
    unknown: str = "fail"
    """What to do about a request without a response: `fail` closes the connection and fails the
    test; `silence` and `notfound` do not fail it."""
    strict: bool = False
    """Whether all recorded messages of the node must have been sent."""
    timeout: float = 10.0
    """Seconds to wait for a connection, and for each response."""
    transport: str | None = None
    """`v1`, `v2` (encrypted, BIP324) or `auto`, for all connections. None lets nodes and peers that
    listen do what each client begins with, and clients not encrypt."""
    ignore: tuple[str, ...] = ()
    """COMMAND or COMMAND.FIELD that a replayed client does not compare."""
    peer: dict[str, object] = {}
    """Fields of the scripted peer's `PeerConfig`."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown value."""
        _one_of("record_mode", self.record_mode, MODES)
        _one_of("unknown", self.unknown, UNKNOWN)
        if self.transport is not None:
            _one_of("transport", self.transport, TRANSPORTS)

    @property
    def chosen_network(self) -> Network | None:
        """The network, or None if it is not set."""
        return None if self.network is None else networks.get(self.network)

    @property
    def needed_network(self) -> Network:
        """The network; raises ValueError if it is not set."""
        if self.network is None:
            raise ValueError('which network? say network="lbry-regtest", or another')
        return networks.get(self.network)

    @property
    def listening_transport(self) -> Transport:
        """How clients are spoken to."""
        return Transport(self.transport or Transport.AUTO)

    @property
    def connecting_transport(self) -> Transport:
        """How nodes are connected to."""
        return Transport(self.transport or Transport.V1)

    @property
    def real_node(self) -> Endpoint | None:
        """The upstream, if there is one."""
        return None if self.upstream is None else Endpoint.parse(self.upstream)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} is not among {', '.join(known)}")


def settings_of(item: pytest.Item, config: object, record_mode: str | None) -> Settings:
    """Return the settings of a test; raises ValueError for invalid ones."""
    if not isinstance(config, Mapping):
        raise ValueError(f"the fixture lbcproxy_config returns {config!r}, which is not a dict")
    said: JsonObject = dict(config)
    for mark in reversed(list(item.iter_markers("capture"))):  # the nearest comes first
        said |= mark.kwargs
    if record_mode is not None:
        said["record_mode"] = record_mode
    if isinstance(said.get("ignore"), list):
        said["ignore"] = tuple(said["ignore"])
    try:
        settings = msgspec.convert(said, Settings)
        settings.real_node  # noqa: B018 # raises for what is none
        settings.chosen_network  # noqa: B018
    except (msgspec.ValidationError, ValueError, KeyError) as error:
        raise ValueError(f"lbcproxy_config or mark capture: {error.args[0]}") from None
    return settings


def capture_path(item: pytest.Item) -> Path:
    """Return the capture of a test: its mark's, or `captures/MODULE/TEST.pcapng` beside it.

    Raises ValueError for a mark that names more than one.
    """
    folder = item.path.parent
    for mark in item.iter_markers("capture"):
        if len(mark.args) > 1:
            raise ValueError(f"mark capture takes one file, and not {len(mark.args)}")
        if mark.args:
            return folder / str(mark.args[0])
    of_class = getattr(item, "cls", None)
    name = f"{of_class.__name__}.{item.name}" if of_class is not None else item.name
    return folder / "captures" / item.path.stem / (file_name(name) + SUFFIX)


def file_name(test: str) -> str:
    """Return a file name for a test's name; two tests never have the same."""
    safe = re.sub(r"[^\w.\[\]+=,-]", "-", test)[:LONGEST]
    if safe == test:
        return safe
    return f"{safe}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def shown_path(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, if it is below it."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
