"""Which proxies are recorded together, and whether what passes them may change."""

from __future__ import annotations

from lbcproxy.config.settings import Common, Config, Proxy
from lbcproxy.proxy.modes import all_modes

__all__ = ["recording_key", "records_changes"]

RECORDING = [name for name in Common.__struct_fields__ if name.startswith(("record", "rotate"))]


def recording_key(proxy: Proxy) -> tuple[object, ...]:
    """Give what proxies have in common that are recorded together, into the same files."""
    own = "" if proxy.record_per == "run" else proxy.name
    shared = [getattr(proxy, name) for name in (*RECORDING, "network")]
    return (*shared, own)


def records_changes(config: Config, proxy: Proxy) -> bool:
    """Whether anything that is recorded together with a proxy may change messages."""
    key = recording_key(proxy)
    return any(
        all_modes()[each.mode].CHANGES
        or bool(each.plugins)
        or any(fault.by_message for fault in each.faults)
        or config.control is not None
        for each in config.proxies
        if each.enabled and recording_key(each) == key
    )
