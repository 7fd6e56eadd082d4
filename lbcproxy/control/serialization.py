"""Proxies and faults as the API's JSON has them, where a fault is called a toxic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lbcproxy.config import Proxy, mode_of
from lbcproxy.control.errors import ApiError, bad_body
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import STREAMS, BadFault, Fault, fault_types

__all__ = ["an_object", "decoded", "make_fault", "proxy_json", "toxic_json", "update_fault"]

SCHEDULE = ("after_bytes", "from_seconds", "for_seconds")
"""What a fault has beyond toxiproxy's; told only where it is set."""


def decoded(body: bytes) -> Any:
    """Read JSON; raises ApiError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_body(str(error) or "nested too deep") from None


def an_object(value: Any) -> dict[str, Any]:
    """Take a JSON object, without what is null; raises ApiError."""
    if not isinstance(value, dict):
        raise bad_body("an object is expected")
    return {name: each for name, each in value.items() if each is not None}


def proxy_json(proxy: Proxy, listens: Endpoint | None) -> dict[str, Any]:
    """Give a proxy; `listens` is where it really does, if it does."""
    mode = mode_of(proxy)
    return {
        "name": proxy.name,
        "listen": str(listens or mode.listen),
        "upstream": ",".join(map(str, mode.upstreams)),
        "enabled": listens is not None,
        "toxics": toxics_json(proxy),
        "network": proxy.network,
    }


def toxics_json(proxy: Proxy) -> list[dict[str, Any]]:
    """Give a proxy's faults, stream after stream."""
    faults = sorted(proxy.faults, key=lambda fault: STREAMS.index(fault.stream))
    return [toxic_json(fault) for fault in faults]


def toxic_json(fault: Fault) -> dict[str, Any]:
    """Give a fault."""
    default = {field.name: field.default for field in msgspec.structs.fields(Fault)}
    schedule = {name: getattr(fault, name) for name in SCHEDULE}
    return {
        "attributes": msgspec.structs.asdict(fault.attributes),
        "name": fault.name,
        "type": fault.type,
        "stream": fault.stream,
        "toxicity": fault.toxicity,
        **{name: value for name, value in schedule.items() if value != default[name]},
    }


def make_fault(given: Mapping[str, Any]) -> Fault:
    """Make a fault of an object; raises ApiError. What is no setting is passed over."""
    values = {name: given[name] for name in Fault.__struct_fields__ if name in given}
    stream = str(values.get("stream", "downstream")).lower()
    if stream not in STREAMS:
        raise ApiError(400, "stream was invalid, can be either upstream or downstream")
    if str(values.get("type")) not in fault_types():
        raise ApiError(400, "invalid toxic type")
    return _fault({**values, "stream": stream})


def update_fault(fault: Fault, given: Mapping[str, Any]) -> Fault:
    """Change the attributes that are given, and what else may change; raises ApiError."""
    values = {name: given[name] for name in ("toxicity", *SCHEDULE) if name in given}
    attributes = an_object(given.get("attributes", {}))
    kept = {name: getattr(fault, name) for name in ("type", "name", "stream")}
    before = {name: getattr(fault, name) for name in ("toxicity", *SCHEDULE)}
    both = {**msgspec.structs.asdict(fault.attributes), **attributes}
    return _fault({**kept, **before, **values, "attributes": both})


def _fault(values: Mapping[str, Any]) -> Fault:
    try:
        return msgspec.convert(values, Fault)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, BadFault):
            raise bad_body(str(error.__cause__)) from None
        what, _, where = str(error).partition(" - at `$.")
        raise bad_body(f"{where.rstrip('`')}: {what}" if where else what) from None
