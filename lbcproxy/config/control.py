"""The address at which the control API listens, as the operator writes it."""

from __future__ import annotations

from lbcproxy.endpoint import Endpoint

__all__ = ["control_address"]


def control_address(value: str | int | None) -> Endpoint | str | None:
    """Return a TCP address or the path of a UNIX socket; None for nowhere.

    Raises:
        ValueError: It is neither.
    """
    if value is None or (isinstance(value, str) and "/" in value):
        return value
    text = str(value)
    try:
        port = text.removeprefix(":")  # toxiproxy writes it like this
        found = Endpoint.parse(text if ":" in port else f"127.0.0.1:{port}")
    except ValueError:
        raise ValueError(f"{text!r} is not PORT, HOST:PORT, or a path with a slash") from None
    return found if found.host else found._replace(host="127.0.0.1")
