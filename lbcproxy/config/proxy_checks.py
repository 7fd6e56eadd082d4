"""Checks of the settings of one proxy that go beyond their types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from string import Formatter

import msgspec

from lbcproxy import networks
from lbcproxy.capture import FilenamePatternError, file_name
from lbcproxy.config.network import BadNetwork, network_of
from lbcproxy.config.recordings import recording_problems
from lbcproxy.config.settings import (
    RECORD,
    RECORD_LISTENER,
    RECORD_SESSION,
    Common,
    Proxy,
)
from lbcproxy.config.socks5 import socks_problems
from lbcproxy.config.transports import transport_problems, with_both_opaque
from lbcproxy.filters import BadFilter, parse
from lbcproxy.peer.config import MAX_USER_AGENT
from lbcproxy.proxy import BadMode, Mode, parse_listen, parse_upstreams
from lbcproxy.proxy.modes import all_modes

__all__ = ["SettingError", "checked_proxy", "default_of", "mode_of"]

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
MIN_FILE = 4 << 10
DEFAULT_RECORD = {"run": RECORD, "listener": RECORD_LISTENER, "session": RECORD_SESSION}
TIMEOUTS = ("dial_timeout", "handshake_timeout", "idle_timeout", "plugin_timeout")

Problem = tuple[str, str]
"""The name of a setting, and what is wrong with it."""


class SettingError(ValueError):
    """A setting of a proxy is wrong; `setting` is its name, empty if one is missing."""

    def __init__(self, setting: str, what: str) -> None:
        super().__init__(what)
        self.setting = setting


def mode_of(proxy: Proxy) -> Mode:
    """Return where a proxy listens and where it connects to; raises BadMode."""
    given = proxy.upstream or ()
    upstreams = parse_upstreams(given.split(",") if isinstance(given, str) else given)
    return Mode(proxy.mode, upstreams, parse_listen(str(proxy.listen)))


def checked_proxy(proxy: Proxy) -> Proxy:
    """Return a proxy with the settings that follow from others filled in; raises SettingError."""
    for setting, what in _mode_problems(proxy):
        raise SettingError(setting, what)
    try:
        network = network_of(proxy)
    except BadNetwork as error:
        raise SettingError(error.setting, str(error)) from None
    proxy = with_both_opaque(msgspec.structs.replace(proxy, network=network))
    if proxy.record == default_of("record"):
        proxy = msgspec.structs.replace(proxy, record=DEFAULT_RECORD[proxy.record_per])
    for problems in (
        _filter_problems,
        recording_problems,
        socks_problems,
        transport_problems,
        _session_problems,
        _fault_problems,
        _record_problems,
    ):
        for setting, what in problems(proxy):
            raise SettingError(setting, what)
    return proxy


def _mode_problems(proxy: Proxy) -> Iterator[Problem]:
    mode = all_modes().get(proxy.mode)
    if mode is None:
        yield "mode", f"{proxy.mode!r} is not among {', '.join(all_modes())}"
        return
    if mode.upstream and not proxy.upstream:
        yield "", "`upstream` is missing"
    if not mode.upstream and proxy.upstream is not None:
        yield "upstream", f"in mode {proxy.mode} each client chooses where it connects to"
    for setting, other in (("listen", {"upstream": None}), ("upstream", {"listen": 0})):
        try:
            mode_of(msgspec.structs.replace(proxy, **other))
        except BadMode as error:
            yield setting, str(error)


def _filter_problems(proxy: Proxy) -> Iterator[Problem]:
    if proxy.record_filter is not None:
        try:
            parse(proxy.record_filter, networks.get(str(proxy.network)))
        except BadFilter as error:
            yield "record_filter", str(error)
    if 0 < proxy.rotate_size < MIN_FILE:
        yield "rotate_size", "at least 4 KiB are expected, or 0 for never"


def _session_problems(proxy: Proxy) -> Iterator[Problem]:
    for timeout in TIMEOUTS:
        if getattr(proxy, timeout) == 0:
            yield timeout, "a time above 0 is expected"
    if proxy.services is not None and proxy.services >= 1 << 64:
        yield "services", "at most 64 bits are expected"
    name = proxy.name or "x"
    if not NAME.fullmatch(name):
        yield "name", f"{name!r} has other characters than letters, digits, '.', '-', '_'"
    size = len((proxy.user_agent or "").encode())
    if size > MAX_USER_AGENT:
        yield "user_agent", f"{size} bytes, at most {MAX_USER_AGENT} are allowed"


def _fault_problems(proxy: Proxy) -> Iterator[Problem]:
    refused = [each.type for each in proxy.faults if not each.by_message or each.needs_encryption]
    if refused and all_modes()[proxy.mode].changes:
        reason = f"it forwards no bytes or packets, so there is nothing for {refused[0]} to act on"
        yield "faults", f"mode {proxy.mode} allows only faults by message: {reason}"
    names = [fault.name for fault in proxy.faults]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield f"faults[{number}]", f"another fault has the name {name!r}"


def _record_problems(proxy: Proxy) -> Iterator[Problem]:
    record = proxy.record
    if record is None:
        return
    try:
        file_name(record, network=str(proxy.network), name=proxy.name or "x", session=1, time_ns=0)
    except FilenamePatternError as error:
        yield "record", str(error)
        return
    numbered = "session" in [field for _, field, _, _ in Formatter().parse(record)]
    if numbered is not (proxy.record_per == "session"):
        has = "has" if numbered else "lacks"
        yield "record", f"{record!r} {has} {{session}}, but record_per is {proxy.record_per}"
    if record == "-" and (proxy.rotate_size or proxy.rotate_every):
        yield "record", "standard output cannot be rotated"


@cache
def default_of(name: str) -> object:
    """Return the default of a setting of `Common`, all of which have one."""
    return next(each.default for each in msgspec.structs.fields(Common) if each.name == name)
