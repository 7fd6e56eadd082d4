"""Making a config from settings; every error names the setting, its line, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from lbcproxy.config.config_checks import check_together
from lbcproxy.config.control import control_address
from lbcproxy.config.describe import type_of
from lbcproxy.config.network import without_magic
from lbcproxy.config.proxy_checks import SettingError, checked_proxy, mode_of
from lbcproxy.config.settings import Common, Config, Proxy, quantity
from lbcproxy.config.source import ConfigError, Locations, location_of
from lbcproxy.faults import BadFault

__all__ = ["load", "make_proxy", "together"]

MIN_MEMORY = 1 << 20

T = TypeVar("T", Config, Proxy)


def load(values: Mapping[str, object], locations: Locations | None = None) -> Config:
    """Make a config from settings.

    A proxy inherits the settings at the top of the file that it does not override.

    Args:
        values: The settings, as YAML or the options of the command line have them.
        locations: The location of each setting, for error messages.

    Raises:
        ConfigError: A setting is wrong.
    """
    locations = locations or {}
    proxies = values.get("proxies")
    # Without proxies, the control API can create them.
    may_be_empty = proxies == [] and values.get("control") is not None
    if not isinstance(proxies, list) or not (proxies or may_be_empty):
        what = "a list of at least one proxy is expected"
        raise ConfigError(what, "proxies", location_of(locations, ""))
    top = _convert({**values, "proxies": []}, Config, "", locations)
    _check_top(top, locations)
    inherited = {key: values[key] for key in Common.__struct_fields__ if key in values}
    made: list[Proxy] = []
    for number, proxy in enumerate(proxies):
        path = f"proxies[{number}]"
        if not isinstance(proxy, dict):
            what = "a proxy is expected: listen, upstream, ..."
            raise ConfigError(what, path, location_of(locations, path))
        checked = _make(inherited, proxy, path, locations)
        made.append(_named(checked, {each.name for each in made}))
    return together(top, made, locations)


def make_proxy(config: Config, values: Mapping[str, object]) -> Proxy:
    """Make one more proxy, which inherits the settings at the top of a config.

    Raises:
        ConfigError: A setting is wrong.
    """
    inherited = {key: getattr(config, key) for key in Common.__struct_fields__}
    proxy = _make(inherited, values, "", {})
    return _named(proxy, {each.name for each in config.proxies})


def together(top: Config, proxies: Iterable[Proxy], locations: Locations | None = None) -> Config:
    """Return a config with other proxies; raises ConfigError if they do not fit together."""
    config: Config = msgspec.structs.replace(top, proxies=tuple(proxies))
    check_together(config, locations or {})
    return config


def _check_top(top: Config, locations: Locations) -> None:
    try:
        control_address(top.control)
    except ValueError as error:
        location = location_of(locations, "control")
        raise ConfigError(str(error), "control", location) from None
    for size in ("memory", "record_queue"):
        if getattr(top, size) < MIN_MEMORY:
            raise ConfigError("at least 1 MiB is expected", size, location_of(locations, size))


def _make(
    inherited: dict[str, object], values: Mapping[str, object], path: str, locations: Locations
) -> Proxy:
    """Make a proxy from inherited settings and its own."""
    if "network" in values:
        inherited = without_magic(inherited)
    proxy = _convert({**inherited, **values}, Proxy, path, locations)
    try:
        return checked_proxy(proxy)
    except SettingError as error:
        setting = f"{path}.{error.setting}".strip(".")
        if setting not in locations and error.setting in locations:
            setting = error.setting  # it is inherited
        location = location_of(locations, setting)
        raise ConfigError(str(error), setting, location) from None


def _convert(values: Mapping[str, object], kind: type[T], path: str, locations: Locations) -> T:
    unknown = [key for key in values if key not in kind.__struct_fields__]
    if unknown:
        name = str(unknown[0])
        close = difflib.get_close_matches(name, kind.__struct_fields__, 1)
        what = f"unknown setting{f', did you mean {close[0]}?' if close else ''}"
        setting = f"{path}.{name}" if path else name
        raise ConfigError(what, setting, location_of(locations, setting))
    try:
        return msgspec.convert(values, kind, dec_hook=quantity)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        setting = f"{path}{place.rstrip('`')}".lstrip(".")
        if isinstance(error.__cause__, BadFault):
            fault_error = error.__cause__
            setting = f"{setting}.{fault_error.path}"
            location = location_of(locations, setting)
            raise ConfigError(fault_error.what, setting, location) from error
        if setting == path and "missing required field" in what:
            what = f"{what.removeprefix('Object missing required field ')} is missing"
        name = setting.removeprefix(path).lstrip(".")
        if name in kind.__struct_fields__ and name != "proxies":
            what = f"{what}; allowed: {type_of(kind, name)}"
        raise ConfigError(what, setting, location_of(locations, setting)) from error


def _named(proxy: Proxy, taken: set[str]) -> Proxy:
    """Return a proxy with a name, which is made up if it has none."""
    if proxy.name:
        return proxy
    name = base = f"{proxy.network}-{mode_of(proxy).listen.port}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return msgspec.structs.replace(proxy, name=name)
