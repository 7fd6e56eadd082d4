"""Messages held by hand, in the control API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from lbcproxy.control.errors import ApiError, bad_body
from lbcproxy.filters import BadFilter
from lbcproxy.plugins.verdicts import Drop
from lbcproxy.proxy.interception import AFTER, Held, Interception
from lbcproxy.session import Message
from lbcproxy.wire.errors import BadRecord

__all__ = ["InterceptionJson", "change_interception", "decide", "interception_json"]

SETTINGS = ("filter", "timeout", "after")


class HeldMessageJson(TypedDict):
    """A message that is being held."""

    number: int
    session: int
    direction: str
    command: str
    length: int
    seconds: float
    summary: str
    message: object
    error: str | None


class InterceptionJson(TypedDict):
    """Which messages are held, and those that are, the oldest first."""

    filter: str | None
    timeout: float
    after: str
    held: list[HeldMessageJson]


def interception_json(interception: Interception) -> InterceptionJson:
    """Return the JSON of the settings and of the held messages."""
    wanted = interception.filter
    return {
        "filter": None if wanted is None else wanted.text,
        "timeout": interception.timeout,
        "after": interception.after,
        "held": [_held_json(each, interception.age(each)) for each in interception.held],
    }


def _held_json(held: Held, seconds: float) -> HeldMessageJson:
    return {
        "number": held.number,
        "session": held.session,
        "direction": held.direction.value,
        "command": held.message.command,
        "length": held.message.length,
        "seconds": round(seconds, 3),
        "summary": held.message.summary(),
        "message": held.message.to_dict(),
        "error": held.message.error,
    }


def change_interception(interception: Interception, given: Mapping[str, object]) -> None:
    """Change the settings that a request names.

    Raises:
        ApiError: A setting is unknown or invalid; nothing has changed then.
    """
    for name in given:
        if name not in SETTINGS:
            raise bad_body(f"no setting {name!r}, there are {', '.join(SETTINGS)}")
    timeout = given.get("timeout", interception.timeout)
    after = given.get("after", interception.after)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9:
        raise bad_body("timeout: seconds above 0 are expected")
    if not isinstance(after, str) or after not in AFTER:
        raise bad_body(f"after: {' or '.join(AFTER)} is expected")
    if "filter" in given:
        text = given["filter"]
        if text is not None and not isinstance(text, str):
            raise bad_body("filter: text is expected, or null to hold nothing")
        try:
            interception.hold(text)
        except BadFilter as error:
            raise bad_body(f"filter: {error}") from None
    interception.timeout = float(timeout)
    interception.after = after


def decide(interception: Interception, number: str, given: Mapping[str, object]) -> None:
    """Release, drop or edit a held message; raises ApiError.

    Args:
        interception: What holds it.
        number: The number of the message, as the path of the request has it.
        given: The body of the request.
    """
    held = {str(each.number): each for each in interception.held}.get(number)
    if held is None:
        raise ApiError(404, f"message {number} is not held")
    action = given.get("do")
    if action == "release":
        interception.decide(held.number, None)
    elif action == "drop":
        interception.decide(held.number, Drop(str(given.get("why", "by hand"))))
    elif action == "edit":
        _edit(interception, held.number, held.message, given)
    else:
        raise bad_body("do: release, drop or edit is expected")


def _edit(
    interception: Interception, number: int, message: Message, given: Mapping[str, object]
) -> None:
    try:
        if "raw" in given:
            raw = given["raw"]
            if not isinstance(raw, str):
                raise bad_body("raw: hexadecimal text is expected")
            interception.edit(number, raw=bytes.fromhex(raw))
            return
        fields = given.get("fields")
        if not isinstance(fields, dict) or not fields:
            raise bad_body("edit: fields with their values are expected, or raw bytes")
        values: dict[str, Any] = {
            name: _value(getattr(message.record, name, None), each) for name, each in fields.items()
        }
        interception.edit(number, **values)
    except (ValueError, TypeError, BadRecord) as error:
        raise bad_body(f"edit: {error}") from None


def _value(before: object, given: object) -> object:
    """Return the new value of a field: for bytes, JSON has hexadecimal text in wire order."""
    if isinstance(before, bytes) and isinstance(given, str):
        return bytes.fromhex(given)
    return given
