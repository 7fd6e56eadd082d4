"""The JSON of proxies and faults in the control API, where a fault is called a toxic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import msgspec

from lbcproxy.config import Proxy, mode_of
from lbcproxy.control.errors import ApiError, bad_body
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import STREAMS, BadFault, Fault, fault_types

__all__ = [
    "ProxyJson",
    "ToxicJson",
    "decode_json",
    "decode_object",
    "make_fault",
    "non_null_object",
    "proxy_json",
    "toxic_json",
    "toxics_json",
    "update_fault",
]

SCHEDULE = ("after_bytes", "from_seconds", "for_seconds")
"""Settings of a fault that toxiproxy does not have; they are sent only if they are set."""


class ToxicJson(TypedDict):
    """A fault, as toxiproxy describes a toxic."""

    attributes: dict[str, object]
    name: str
    type: str
    stream: str
    toxicity: float
    after_bytes: NotRequired[int]
    from_seconds: NotRequired[float]
    for_seconds: NotRequired[float]


class ProxyJson(TypedDict):
    """A proxy, as toxiproxy describes one, with its network."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: list[ToxicJson]
    network: str | None


def decode_json(body: bytes) -> object:
    """Decode the body of a request; raises ApiError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_body(str(error) or "nested too deep") from None


def decode_object(body: bytes) -> dict[str, object]:
    """Decode a JSON object, without the fields that are null; raises ApiError."""
    return non_null_object(decode_json(body))


def non_null_object(value: object) -> dict[str, object]:
    """Return a JSON object without the fields that are null; raises ApiError for other JSON."""
    if not isinstance(value, dict):
        raise bad_body("an object is expected")
    return {name: each for name, each in value.items() if each is not None}


def proxy_json(proxy: Proxy, listening: Endpoint | None) -> ProxyJson:
    """Return the JSON of a proxy.

    Args:
        proxy: Its settings.
        listening: The address it listens at, None if it does not listen.
    """
    mode = mode_of(proxy)
    return {
        "name": proxy.name,
        "listen": str(listening or mode.listen),
        "upstream": ",".join(map(str, mode.upstreams)),
        "enabled": listening is not None,
        "toxics": toxics_json(proxy),
        "network": proxy.network,
    }


def toxics_json(proxy: Proxy) -> list[ToxicJson]:
    """Return the JSON of a proxy's faults, sorted by stream."""
    faults = sorted(proxy.faults, key=lambda fault: STREAMS.index(fault.stream))
    return [toxic_json(fault) for fault in faults]


def toxic_json(fault: Fault) -> ToxicJson:
    """Return the JSON of a fault."""
    toxic: ToxicJson = {
        "attributes": msgspec.structs.asdict(fault.attributes),
        "name": fault.name,
        "type": fault.type,
        "stream": fault.stream,
        "toxicity": fault.toxicity,
    }
    if fault.after_bytes:
        toxic["after_bytes"] = fault.after_bytes
    if fault.from_seconds:
        toxic["from_seconds"] = fault.from_seconds
    if fault.for_seconds is not None:
        toxic["for_seconds"] = fault.for_seconds
    return toxic


def make_fault(given: Mapping[str, object]) -> Fault:
    """Return the fault that a request describes, ignoring unknown fields; raises ApiError."""
    values = {name: given[name] for name in Fault.__struct_fields__ if name in given}
    stream = str(values.get("stream", "downstream")).lower()
    if stream not in STREAMS:
        raise ApiError(400, "stream was invalid, can be either upstream or downstream")
    if str(values.get("type")) not in fault_types():
        raise ApiError(400, "invalid toxic type")
    return _fault({**values, "stream": stream})


def update_fault(fault: Fault, given: Mapping[str, object]) -> Fault:
    """Return a fault with the attributes, toxicity and schedule of a request; raises ApiError.

    Its name, type and stream do not change.
    """
    changeable = ("toxicity", *SCHEDULE)
    fields = ("type", "name", "stream", *changeable)
    before = {name: getattr(fault, name) for name in fields}
    changes = {name: given[name] for name in changeable if name in given}
    attributes = non_null_object(given.get("attributes", {}))
    merged = {**msgspec.structs.asdict(fault.attributes), **attributes}
    return _fault({**before, **changes, "attributes": merged})


def _fault(values: Mapping[str, object]) -> Fault:
    try:
        return msgspec.convert(values, Fault)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, BadFault):
            raise bad_body(str(error.__cause__)) from None
        what, _, path = str(error).partition(" - at `$.")
        raise bad_body(f"{path.rstrip('`')}: {what}" if path else what) from None
