"""A config read, with every mistake named by where it stands and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from string import Formatter
from typing import Any

import msgspec
import yaml

from lbcproxy import networks
from lbcproxy.capture import FilenamePatternError, file_name
from lbcproxy.config.control import control_address
from lbcproxy.config.describe import type_of
from lbcproxy.config.network import BadNetwork, network_of, without_magic
from lbcproxy.config.recordings import not_kept, recording_key
from lbcproxy.config.settings import (
    RECORD,
    RECORD_LISTENER,
    RECORD_SESSION,
    Common,
    Config,
    Proxy,
    quantity,
)
from lbcproxy.config.socks5 import SOCKS, led_on, not_led
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.faults import BadFault
from lbcproxy.filters import BadFilter, parse
from lbcproxy.peer.config import MAX_USER_AGENT
from lbcproxy.proxy import BadMode, IdentityOverrides, Mode, parse_listen, parse_upstreams
from lbcproxy.proxy.modes import all_modes

__all__ = [
    "ConfigError",
    "load",
    "make_proxy",
    "mode_of",
    "read",
    "together",
]

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LEAST = 1 << 20
LEAST_FILE = 4 << 10
RECORDS = {"run": RECORD, "listener": RECORD_LISTENER, "session": RECORD_SESSION}
NO_SOCKS = "it does nothing without a proxy of mode socks5: elsewhere clients do not choose"
USELESS = "it does nothing without a proxy of mode terminate: the others pass every byte as it came"
ANY = ("0.0.0.0", "::")  # noqa: S104


class ConfigError(LbcproxyError, ValueError):
    """A setting that is wrong; `path` says which, as `proxies[0].listen`."""

    hint = "`lbcproxy options` lists every setting"
    exit_code = 2

    def __init__(self, what: str, path: str = "", place: str = "") -> None:
        self.what = what
        self.path = path
        super().__init__(": ".join(each for each in (place, path, what) if each))


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a YAML file: its settings, and for the path of each the line; raises ConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(why, place=str(path)) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = {} if node is None else dict(_lines(node, "", str(path)))
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # YAML's dates may be none: 2026-02-31
        if isinstance(error, ConfigError):
            raise
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"no YAML: {getattr(error, 'problem', error)}", place=place) from error
    except RecursionError as error:
        raise ConfigError("no YAML that is nested so deep is read", place=str(path)) from error
    if not isinstance(value, dict):
        raise ConfigError("settings are expected, as `name: value`", place=str(path))
    return value, lines


def load(values: Mapping[str, Any], lines: Mapping[str, str] | None = None) -> Config:
    """Make a config of settings as YAML or flags have them; raises ConfigError.

    A proxy has what stands at the top where it does not say otherwise. `lines` says of settings,
    by path, where they stand.
    """
    places = lines or {}
    values = dict(values)
    proxies = values.get("proxies")
    alone = proxies == [] and values.get("control") is not None  # they are made by the control API
    if not isinstance(proxies, list) or not (proxies or alone):
        raise ConfigError("a list of at least one proxy is expected", "proxies", _at(places, ""))
    top = _convert({**values, "proxies": []}, Config, "", places)
    given = {key: values[key] for key in Common.__struct_fields__ if key in values}
    try:
        control_address(top.control)
    except ValueError as error:
        raise ConfigError(str(error), "control", _at(places, "control")) from None
    for size in ("memory", "record_queue"):
        if getattr(top, size) < LEAST:
            raise ConfigError("at least 1 MiB is expected", size, _at(places, size))
    made: list[Proxy] = []
    for number, proxy in enumerate(proxies):
        path = f"proxies[{number}]"
        if not isinstance(proxy, dict):
            raise ConfigError("a proxy is expected: listen, upstream, ...", path, _at(places, path))
        inherited = without_magic(given) if "network" in proxy else given
        checked = _checked(_convert({**inherited, **proxy}, Proxy, path, places), path, places)
        made.append(_named(checked, {each.name for each in made}))
    return together(top, made, places)


def make_proxy(config: Config, values: Mapping[str, Any]) -> Proxy:
    """Make one more proxy, with what stands at the top of a config; raises ConfigError."""
    given = {key: getattr(config, key) for key in Common.__struct_fields__}
    if "network" in values:
        given = without_magic(given)
    proxy = _checked(_convert({**given, **values}, Proxy, "", {}), "", {})
    return _named(proxy, {each.name for each in config.proxies})


def together(
    top: Config, proxies: Iterable[Proxy], lines: Mapping[str, str] | None = None
) -> Config:
    """Give a config with these proxies; raises ConfigError if they do not go together."""
    config: Config = msgspec.structs.replace(top, proxies=tuple(proxies))
    _check_together(config, lines or {})
    return config


def mode_of(proxy: Proxy) -> Mode:
    """Give what a proxy listens at and where it leads; raises BadMode."""
    given = proxy.upstream or ()
    upstreams = parse_upstreams(given.split(",") if isinstance(given, str) else given)
    return Mode(proxy.mode, upstreams, parse_listen(str(proxy.listen)))


def _convert(values: Mapping[str, Any], kind: Any, path: str, places: Mapping[str, str]) -> Any:
    unknown = [key for key in values if key not in kind.__struct_fields__]
    if unknown:
        name = str(unknown[0])
        near = difflib.get_close_matches(name, kind.__struct_fields__, 1)
        words = f"no setting{f', did you mean {near[0]}?' if near else ''}"
        where = f"{path}.{name}" if path else name
        raise ConfigError(words, where, _at(places, where))
    try:
        return msgspec.convert(values, kind, dec_hook=quantity)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        where = f"{path}{where.rstrip('`')}".lstrip(".")
        if isinstance(error.__cause__, BadFault):
            bad = error.__cause__
            where = f"{where}.{bad.path}"
            raise ConfigError(bad.what, where, _at(places, where)) from error
        if where == path and "missing required field" in what:
            what = what.replace("Object missing required field", "it lacks")
        name = where.removeprefix(path).lstrip(".")
        if name in kind.__struct_fields__ and name != "proxies":
            what = f"{what}; right is {type_of(kind, name)}"
        raise ConfigError(what, where, _at(places, where)) from error


def _checked(proxy: Proxy, path: str, places: Mapping[str, str]) -> Proxy:
    """Hold a proxy against what its types do not say, and fill in what follows from the rest."""

    def wrong(name: str, what: str) -> ConfigError:
        where = f"{path}.{name}".strip(".")
        if where not in places and name in places:
            where = name  # it stands at the top
        return ConfigError(what, where, _at(places, where))

    if proxy.mode not in all_modes():
        raise wrong("mode", f"{proxy.mode!r} is not among {', '.join(all_modes())}")
    _check_place(proxy, wrong)
    try:
        network = network_of(proxy)
    except BadNetwork as error:
        raise wrong(error.setting, str(error)) from None
    proxy = msgspec.structs.replace(proxy, network=network)
    if proxy.record_filter is not None:
        try:
            parse(proxy.record_filter, networks.get(network))
        except BadFilter as error:
            raise wrong("record_filter", str(error)) from None
    if 0 < proxy.rotate_size < LEAST_FILE:
        raise wrong("rotate_size", "at least 4 KiB are expected, or 0 for never")
    for setting, what in (*not_kept(proxy), *not_led(proxy)):
        raise wrong(setting, what)
    for timeout in ("dial_timeout", "handshake_timeout", "idle_timeout", "plugin_timeout"):
        if getattr(proxy, timeout) == 0:
            raise wrong(timeout, "a time above 0 is expected")
    if proxy.services is not None and proxy.services >= 1 << 64:
        raise wrong("services", "at most 64 bits are expected")
    name = proxy.name or "x"
    if not NAME.fullmatch(name):
        raise wrong("name", f"{name!r} has other characters than letters, digits, '.', '-', '_'")
    if proxy.user_agent is not None and len(proxy.user_agent.encode()) > MAX_USER_AGENT:
        size = len(proxy.user_agent.encode())
        raise wrong("user_agent", f"{size} bytes, at most {MAX_USER_AGENT} are allowed")
    if proxy.faults:
        by_byte = [fault.type for fault in proxy.faults if not fault.by_message]
        if by_byte and all_modes()[proxy.mode].changes:
            why = f"its legs do not pass bytes on, so that {by_byte[0]} has nothing to act on"
            raise wrong("faults", f"mode {proxy.mode} has only faults by message: {why}")
        names = [fault.name for fault in proxy.faults]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise wrong(f"faults[{number}]", f"another fault is called {name!r} already")
    record = proxy.record
    if record == _default("record"):
        record = RECORDS[proxy.record_per]
    if record is not None:
        try:
            _fill(record, network, name)
        except FilenamePatternError as error:
            raise wrong("record", str(error)) from None
        numbered = "session" in [each for _, each, _, _ in Formatter().parse(record)]
        if numbered is not (proxy.record_per == "session"):
            has = "has" if numbered else "lacks"
            raise wrong(
                "record", f"{record!r} {has} {{session}}, as record_per is {proxy.record_per}"
            )
        if record == "-" and (proxy.rotate_size or proxy.rotate_every):
            raise wrong("record", "the standard output cannot be rotated")
    return msgspec.structs.replace(proxy, record=record)


def _check_place(proxy: Proxy, wrong: Callable[[str, str], ConfigError]) -> None:
    """Refuse a proxy that listens or leads nowhere."""
    led = all_modes()[proxy.mode].upstream
    if led and not proxy.upstream:
        raise wrong("", "it lacks `upstream`")
    if not led and proxy.upstream is not None:
        raise wrong("upstream", f"each client of mode {proxy.mode} says itself where it is led")
    for setting, other in (("listen", {"upstream": None}), ("upstream", {"listen": 0})):
        try:
            mode_of(msgspec.structs.replace(proxy, **other))
        except BadMode as error:
            raise wrong(setting, str(error)) from None


def _named(proxy: Proxy, taken: set[str]) -> Proxy:
    """Give a proxy without a name one of its own."""
    if proxy.name:
        return proxy
    name = base = f"{proxy.network}-{mode_of(proxy).listen.port}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return msgspec.structs.replace(proxy, name=name)


def _check_together(config: Config, places: Mapping[str, str]) -> None:
    """Refuse proxies that are called the same, listen at the same, or lead to each other."""
    if not any(all_modes()[proxy.mode].changes for proxy in config.proxies):
        for name in IdentityOverrides.__struct_fields__:
            if getattr(config, name) != _default(name):
                raise ConfigError(USELESS, name, _at(places, name))
    if not any(proxy.mode == "socks5" for proxy in config.proxies):
        for name in SOCKS:
            if getattr(config, name) != _default(name):
                raise ConfigError(NO_SOCKS, name, _at(places, name))
    at: dict[Endpoint, Mode] = {}
    names: dict[str, int] = {}
    for number, proxy in enumerate(config.proxies):
        path = f"proxies[{number}]"
        if proxy.name in names:
            other = f"proxies[{names[proxy.name]}]"
            raise ConfigError(
                f"{proxy.name!r} is the name of {other} as well", f"{path}.name", _at(places, path)
            )
        names[proxy.name] = number
        mode = led_on(proxy, mode_of(proxy))
        if not proxy.enabled or mode.listen.port == 0:
            continue
        for listen in at:
            if _is_same(listen, mode.listen):
                raise ConfigError(
                    f"another proxy listens at {listen} already",
                    f"{path}.listen",
                    _at(places, f"{path}.listen"),
                )
        at[mode.listen] = mode
    _check_files(config, places)
    clear: set[Endpoint] = set()
    for number, proxy in enumerate(config.proxies):
        mode = led_on(proxy, mode_of(proxy))
        if circle := _circle(mode, (mode.listen,), at, clear):
            setting = "upstream" if proxy.upstream else "socks_upstream"
            path = f"proxies[{number}].{setting}"
            way = " -> ".join(map(str, circle))
            raise ConfigError(f"it leads back to itself: {way}", path, _at(places, path))


def _circle(
    mode: Mode, seen: tuple[Endpoint, ...], at: Mapping[Endpoint, Mode], clear: set[Endpoint]
) -> tuple[Endpoint, ...]:
    """Give a way from a mode that comes by a listener twice; nothing if there is none.

    `clear` are listeners that are known to lead into none, and are looked at once.
    """
    for upstream in mode.upstreams:
        for listen in (each for each in at if each not in clear and _is_same(upstream, each)):
            if any(_is_same(listen, each) for each in seen):
                return (*seen, listen)
            if circle := _circle(at[listen], (*seen, listen), at, clear):
                return circle
            clear.add(listen)
    return ()


def _check_files(config: Config, places: Mapping[str, str]) -> None:
    """Refuse recordings that would want the same file."""
    files: dict[str, tuple[int, object]] = {}
    for number, proxy in enumerate(config.proxies):
        if proxy.record is None or not proxy.enabled or proxy.record_per == "session":
            continue  # sessions are counted over all proxies
        path, key = _fill(proxy.record, str(proxy.network), proxy.name), recording_key(proxy)
        first, other = files.setdefault(path, (number, key))
        if other != key:
            where = f"proxies[{number}].record"
            raise ConfigError(
                f"proxies[{first}] is recorded into the same file, and otherwise: "
                "put {name} or {network} into it",
                where,
                _at(places, where if where in places else "record"),
            )


def _fill(pattern: str, network: str, name: str) -> str:
    return file_name(pattern, network=network, name=name, session=1, time_ns=0)


@cache
def _default(name: str) -> object:
    """Give the default of a setting of Common: all of them have one."""
    return next(each.default for each in msgspec.structs.fields(Common) if each.name == name)


def _is_same(one: Endpoint, other: Endpoint) -> bool:
    """Whether two addresses may be the same listener."""
    if one.port != other.port:
        return False
    hosts = {"127.0.0.1" if each == "localhost" else each for each in (one.host, other.host)}
    return len(hosts) == 1 or (bool(hosts & set(ANY)) and all(map(_is_here, hosts)))


def _is_here(host: str) -> bool:
    try:
        return host in ANY or ip_address(host).is_loopback
    except ValueError:
        return False


def _at(places: Mapping[str, str], path: str) -> str:
    """Give the line of a setting, or of the nearest thing around it."""
    while path and path not in places:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return places.get(path, "")


def _lines(node: yaml.Node, path: str, file: str) -> Iterator[tuple[str, str]]:
    """Give the place of every setting; raises ConfigError for one that stands there twice."""
    yield path, f"{file}, line {node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            where = f"{path}.{name}" if path else name
            if name in seen:
                line = f"{file}, line {key.start_mark.line + 1}"
                raise ConfigError("it stands there twice", where, line)
            seen.add(name)
            yield from _lines(value, where, file)
            yield where, f"{file}, line {key.start_mark.line + 1}"
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, f"{path}[{number}]", file)
