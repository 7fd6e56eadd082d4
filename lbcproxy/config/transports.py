"""The settings of transports."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy.config.settings import Config, Proxy
from lbcproxy.proxy.modes import all_modes
from lbcproxy.transport.curve import MissingLibrary, require_libraries
from lbcproxy.transport.kind import Transport

__all__ = ["key_log_problems", "transport_problems", "with_both_opaque"]

SETTINGS = ("client_transport", "upstream_transport")


def with_both_opaque(proxy: Proxy) -> Proxy:
    """Return a proxy of which both connections are opaque if one is, and the other undecided."""
    chosen = [getattr(proxy, name) for name in SETTINGS]
    if sorted(chosen) != [Transport.AUTO, Transport.OPAQUE]:
        return proxy
    return msgspec.structs.replace(proxy, **dict.fromkeys(SETTINGS, Transport.OPAQUE.value))


def transport_problems(proxy: Proxy) -> Iterator[tuple[str, str]]:
    """Yield the settings that are wrong, and what is wrong with them."""
    for name, other in (SETTINGS, SETTINGS[::-1]):
        kind, of_other = getattr(proxy, name), getattr(proxy, other)
        if kind == Transport.OPAQUE and all_modes()[proxy.mode].changes:
            yield name, f"mode {proxy.mode} has to read what passes, so it cannot be opaque"
        elif kind == Transport.OPAQUE and of_other != Transport.OPAQUE:
            yield name, f"opaque is for both connections, but {other} is {of_other}"
        elif kind == Transport.V2 and (problem := _missing_library()):
            yield name, problem


def key_log_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the key log."""
    if config.key_log is None:
        return
    if config.key_log == config.log_file:
        yield "key_log", "log_file is the same file, and a log is no place for keys"
    elif problem := _missing_library():
        yield "key_log", problem


def _missing_library() -> str:
    """Return what is to be installed before connections can be encrypted; empty if nothing."""
    try:
        require_libraries()
    except MissingLibrary as error:
        return str(error)
    return ""
