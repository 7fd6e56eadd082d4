"""Which proxies share a recording, and checks of the settings of recordings."""

from __future__ import annotations

from collections.abc import Iterator

from lbcproxy.capture import REASONS, FilenamePatternError, file_name
from lbcproxy.capture.compression import MISSING_ZSTANDARD, is_unavailable
from lbcproxy.config.settings import Common, Config, Proxy
from lbcproxy.proxy.modes import all_modes

__all__ = ["recording_key", "recording_problems", "records_changes"]

MIN_RING = 4 << 10

PER_PROXY = "record_on_demand"
"""A setting that proxies with a shared recording may have differently."""
SHARED = [
    name
    for name in Common.__struct_fields__
    if name.startswith(("record", "rotate")) and name != PER_PROXY
]


def recording_key(proxy: Proxy) -> tuple[object, ...]:
    """Return a key that is equal for proxies that are recorded to the same files."""
    name = "" if proxy.record_per == "run" else proxy.name
    shared = [getattr(proxy, name) for name in (*SHARED, "network")]
    return (*shared, name)


def records_changes(config: Config, proxy: Proxy) -> bool:
    """Whether a proxy that shares the recording of this one may change messages."""
    key = recording_key(proxy)
    return any(
        all_modes()[each.mode].changes
        or bool(each.plugins)
        or any(fault.by_message for fault in each.faults)
        or config.control is not None
        for each in config.proxies
        if each.enabled and recording_key(each) == key
    )


def recording_problems(proxy: Proxy) -> Iterator[tuple[str, str]]:
    """Yield the settings of recordings and rings that are wrong, and what is wrong with them."""
    if 0 < proxy.record_keep_size < proxy.rotate_size:
        yield "record_keep_size", "a single file may be larger, because rotate_size is"
    if is_unavailable(proxy.record_compress):
        yield "record_compress", MISSING_ZSTANDARD
    if proxy.ring and proxy.ring_size < MIN_RING:
        yield "ring_size", "at least 4 KiB are expected"
    for reason in proxy.ring_on:
        if reason not in REASONS:
            yield "ring_on", f"{reason!r} is not among {', '.join(REASONS)}"
    if proxy.ring_file == "-":
        yield "ring_file", "each ring is written to a file of its own"
    try:
        file_name(
            proxy.ring_file, network=str(proxy.network), name=proxy.name, session=1, time_ns=0
        )
    except FilenamePatternError as error:
        yield "ring_file", str(error)
