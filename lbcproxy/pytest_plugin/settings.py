"""What a test says of its capture: the fixture `lbcproxy_config`, then marks, the nearest last."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network

__all__ = ["MODES", "SUFFIX", "UNKNOWN", "Settings", "capture_path", "settings_of", "shown_path"]

MODES = ("none", "once", "new_episodes", "all", "rewrite")
UNKNOWN = ("fail", "silence", "notfound")
SUFFIX = ".pcapng"
LONGEST = 120
"""Characters of a file's name that is made of a test's."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that may be said, in `@pytest.mark.capture(...)` and in `lbcproxy_config`."""

    network: str | None = None
    """The network's id; needed to record and to be a scripted peer, and where a capture of
    somebody else's does not tell it."""
    upstream: str | None = None
    """HOST:PORT of the real node that is recorded."""
    record_mode: str = "none"
    """One of `MODES`; the command line goes before."""
    session: int | None = None
    """The session of the capture that every client meets; left out, the first client meets the
    first, the next the next."""
    unknown: str = "fail"
    """What becomes of a question without an answer: `fail` cuts the connection and fails the test,
    `silence` and `notfound` answer so and let it pass."""
    strict: bool = False
    """Whether all that the recorded node said must have been said."""
    timeout: float = 10.0
    """Seconds for a connection and for each answer that is waited for."""
    ignore: tuple[str, ...] = ()
    """COMMAND or COMMAND.FIELD that a replayed client does not compare."""
    peer: dict[str, Any] = {}
    """Fields of the scripted peer's `PeerConfig`."""

    def __post_init__(self) -> None:
        """Raise ValueError for a word that means nothing."""
        _one_of("record_mode", self.record_mode, MODES)
        _one_of("unknown", self.unknown, UNKNOWN)

    @property
    def chosen_network(self) -> Network | None:
        """The network, if it was said."""
        return None if self.network is None else networks.get(self.network)

    @property
    def needed_network(self) -> Network:
        """The network; raises ValueError if it was not said."""
        if self.network is None:
            raise ValueError('which network? say network="lbry-regtest", or another')
        return networks.get(self.network)

    @property
    def real_node(self) -> Endpoint | None:
        """The upstream, if there is one."""
        return None if self.upstream is None else Endpoint.parse(self.upstream)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} is not among {', '.join(known)}")


def settings_of(item: pytest.Item, config: object, record_mode: str | None) -> Settings:
    """Put together what holds for a test; raises ValueError for what cannot be understood."""
    if not isinstance(config, Mapping):
        raise ValueError(f"the fixture lbcproxy_config gives {config!r}, and not a dict")
    said: dict[str, Any] = dict(config)
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
    """Make a file's name of a test's; two tests never get the same."""
    safe = re.sub(r"[^\w.\[\]+=,-]", "-", test)[:LONGEST]
    if safe == test:
        return safe
    return f"{safe}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def shown_path(path: Path, folder: Path) -> str:
    """Return a path as it is seen from a folder."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
