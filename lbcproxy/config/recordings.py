"""Which proxies are recorded together, whether what passes them may change, what can be kept."""

from __future__ import annotations

from collections.abc import Iterator

from lbcproxy.capture import REASONS, FilenamePatternError, file_name
from lbcproxy.capture.compression import MISSING_ZSTANDARD, is_unavailable
from lbcproxy.config.settings import Common, Config, Proxy
from lbcproxy.proxy.modes import all_modes

__all__ = ["not_kept", "recording_key", "records_changes"]

LEAST_RING = 4 << 10

OWN = "record_on_demand"
"""What of it each proxy has for itself."""
RECORDING = [
    name
    for name in Common.__struct_fields__
    if name.startswith(("record", "rotate")) and name != OWN
]


def recording_key(proxy: Proxy) -> tuple[object, ...]:
    """Give what proxies have in common that are recorded together, into the same files."""
    own = "" if proxy.record_per == "run" else proxy.name
    shared = [getattr(proxy, name) for name in (*RECORDING, "network")]
    return (*shared, own)


def records_changes(config: Config, proxy: Proxy) -> bool:
    """Whether anything that is recorded together with a proxy may change messages."""
    key = recording_key(proxy)
    return any(
        all_modes()[each.mode].changes
        or bool(each.plugins)
        or any(fault.by_message for fault in each.faults)
        or config.control is not None
        for each in config.proxies
        if each.enabled and recording_key(each) == key
    )


def not_kept(proxy: Proxy) -> Iterator[tuple[str, str]]:
    """Give what of the settings for long runs cannot be: the name of each, and why."""
    if 0 < proxy.record_keep_size < proxy.rotate_size:
        yield "record_keep_size", "one file alone may be longer, as rotate_size is"
    if is_unavailable(proxy.record_compress):
        yield "record_compress", MISSING_ZSTANDARD
    if proxy.ring and proxy.ring_size < LEAST_RING:
        yield "ring_size", "at least 4 KiB are expected"
    for reason in proxy.ring_on:
        if reason not in REASONS:
            yield "ring_on", f"{reason!r} is not among {', '.join(REASONS)}"
    if proxy.ring_file == "-":
        yield "ring_file", "each ring is a file of its own"
    try:
        file_name(
            proxy.ring_file, network=str(proxy.network), name=proxy.name, session=1, time_ns=0
        )
    except FilenamePatternError as error:
        yield "ring_file", str(error)
