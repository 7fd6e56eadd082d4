"""Checks of all proxies of a config together: names, ports, files and loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from lbcproxy.capture import file_name
from lbcproxy.config.proxy_checks import default_of, mode_of
from lbcproxy.config.recordings import recording_key
from lbcproxy.config.settings import Config
from lbcproxy.config.socks5 import SOCKS_SETTINGS, through_socks_upstream
from lbcproxy.config.source import ConfigError, Locations, location_of
from lbcproxy.config.transports import key_log_problems
from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy import IdentityOverrides, Mode
from lbcproxy.proxy.modes import all_modes

__all__ = ["check_together"]

NEEDS_SOCKS = "it has no effect without a proxy of mode socks5, where clients choose the upstream"
NEEDS_TERMINATE = (
    "it has no effect without a proxy of mode terminate: the other modes change nothing"
)
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104


def check_together(config: Config, locations: Locations) -> None:
    """Raise ConfigError for proxies with the same name, address or file, or that form a loop."""
    for path, what in _problems(config):
        inherited = path.endswith(".record") and path not in locations
        raise ConfigError(what, path, location_of(locations, "record" if inherited else path))


def _problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the path of each setting that is wrong, and what is wrong with it."""
    yield from _useless_settings(config)
    yield from key_log_problems(config)
    yield from _repeated_names(config)
    listeners: dict[Endpoint, Mode] = {}
    yield from _repeated_addresses(config, listeners)
    yield from _shared_files(config)
    yield from _loops(config, listeners)


def _useless_settings(config: Config) -> Iterator[tuple[str, str]]:
    if not any(all_modes()[proxy.mode].changes for proxy in config.proxies):
        for name in IdentityOverrides.__struct_fields__:
            if getattr(config, name) != default_of(name):
                yield name, NEEDS_TERMINATE
    if not any(proxy.mode == "socks5" for proxy in config.proxies):
        for name in SOCKS_SETTINGS:
            if getattr(config, name) != default_of(name):
                yield name, NEEDS_SOCKS


def _repeated_names(config: Config) -> Iterator[tuple[str, str]]:
    numbers: dict[str, int] = {}
    for number, proxy in enumerate(config.proxies):
        if proxy.name in numbers:
            other = f"proxies[{numbers[proxy.name]}]"
            yield f"proxies[{number}].name", f"{proxy.name!r} is already the name of {other}"
        numbers[proxy.name] = number


def _repeated_addresses(
    config: Config, listeners: dict[Endpoint, Mode]
) -> Iterator[tuple[str, str]]:
    """Yield as `_problems` does, and collect the modes by the address they listen at."""
    for number, proxy in enumerate(config.proxies):
        mode = through_socks_upstream(proxy, mode_of(proxy))
        if not proxy.enabled or mode.listen.port == 0:
            continue
        for listen in listeners:
            if _is_same(listen, mode.listen):
                yield f"proxies[{number}].listen", f"another proxy already listens at {listen}"
        listeners[mode.listen] = mode


def _loops(config: Config, listeners: Mapping[Endpoint, Mode]) -> Iterator[tuple[str, str]]:
    without_loop: set[Endpoint] = set()
    for number, proxy in enumerate(config.proxies):
        mode = through_socks_upstream(proxy, mode_of(proxy))
        if loop := _find_loop(mode, (mode.listen,), listeners, without_loop):
            setting = "upstream" if proxy.upstream else "socks_upstream"
            addresses = " -> ".join(map(str, loop))
            yield f"proxies[{number}].{setting}", f"it leads back to itself: {addresses}"


def _find_loop(
    mode: Mode,
    seen: tuple[Endpoint, ...],
    listeners: Mapping[Endpoint, Mode],
    without_loop: set[Endpoint],
) -> tuple[Endpoint, ...]:
    """Return the listeners on a path from a mode that reaches one of them twice; none if empty.

    Args:
        mode: Where the path continues.
        seen: The listeners on the path so far.
        listeners: All modes, by the address they listen at.
        without_loop: Listeners that are known to lead into no loop; it is added to.
    """
    for upstream in mode.upstreams:
        candidates = (each for each in listeners if each not in without_loop)
        for listen in (each for each in candidates if _is_same(upstream, each)):
            if any(_is_same(listen, each) for each in seen):
                return (*seen, listen)
            if loop := _find_loop(listeners[listen], (*seen, listen), listeners, without_loop):
                return loop
            without_loop.add(listen)
    return ()


def _shared_files(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the recordings that would write the same file, with other settings."""
    files: dict[str, tuple[int, object]] = {}
    for number, proxy in enumerate(config.proxies):
        if proxy.record is None or not proxy.enabled or proxy.record_per == "session":
            continue  # session numbers are unique over all proxies
        network = str(proxy.network)
        path = file_name(proxy.record, network=network, name=proxy.name, session=1, time_ns=0)
        key = recording_key(proxy)
        first, other = files.setdefault(path, (number, key))
        if other != key:
            what = f"proxies[{first}] records to the same file, with other settings"
            yield f"proxies[{number}].record", what + ": add {name} or {network} to it"


def _is_same(one: Endpoint, other: Endpoint) -> bool:
    """Whether two addresses may be the same listener."""
    if one.port != other.port:
        return False
    hosts = {"127.0.0.1" if each == "localhost" else each for each in (one.host, other.host)}
    return len(hosts) == 1 or (bool(hosts & set(ANY_HOST)) and all(map(_is_local, hosts)))


def _is_local(host: str) -> bool:
    try:
        return host in ANY_HOST or ip_address(host).is_loopback
    except ValueError:
        return False
