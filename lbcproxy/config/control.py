"""Where the control API listens, as the operator writes it."""

from __future__ import annotations

from lbcproxy.endpoint import Endpoint

__all__ = ["control_address"]


def control_address(value: str | int | None) -> Endpoint | str | None:
    """Give where the control API listens: a TCP address, or the path of a UNIX socket."""
    if value is None or (isinstance(value, str) and "/" in value):
        return value
    text = str(value)
    try:
        port = text.removeprefix(":")  # toxiproxy's way to write it
        found = Endpoint.parse(text if ":" in port else f"127.0.0.1:{port}")
    except ValueError:
        raise ValueError(f"{text!r} is not PORT, HOST:PORT, or a path with a slash") from None
    return found if found.host else found._replace(host="127.0.0.1")
