"""Messages held by hand, as the control API has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbcproxy.control.errors import ApiError, bad_body
from lbcproxy.filters import BadFilter
from lbcproxy.plugins.verdicts import Drop
from lbcproxy.proxy.interception import AFTER, Interception
from lbcproxy.session import Message
from lbcproxy.wire.errors import BadRecord

__all__ = ["change_interception", "decide", "interception_json"]

SETTINGS = ("filter", "timeout", "after")


def interception_json(interception: Interception) -> dict[str, Any]:
    """Give the settings, and the messages that wait, the oldest first."""
    wanted = interception.filter
    return {
        "filter": None if wanted is None else wanted.text,
        "timeout": interception.timeout,
        "after": interception.after,
        "held": [
            {
                "number": each.number,
                "session": each.session,
                "direction": each.direction.value,
                "command": each.message.command,
                "length": each.message.length,
                "seconds": round(interception.age(each), 3),
                "summary": each.message.summary(),
                "message": each.message.to_dict(),
                "error": each.message.error,
            }
            for each in interception.held
        ],
    }


def change_interception(interception: Interception, given: Mapping[str, Any]) -> None:
    """Change the settings that are given; raises ApiError, and nothing has changed."""
    for name in given:
        if name not in SETTINGS:
            raise bad_body(f"no setting {name!r}, there are {', '.join(SETTINGS)}")
    timeout, after = given.get("timeout", interception.timeout), given.get("after", "release")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9:
        raise bad_body("timeout: seconds above 0 are expected")
    if after not in AFTER:
        raise bad_body(f"after: {' or '.join(AFTER)} is expected")
    if "filter" in given:
        text = given["filter"]
        if text is not None and not isinstance(text, str):
            raise bad_body("filter: text is expected, or null for none")
        try:
            interception.hold(text)
        except BadFilter as error:
            raise bad_body(f"filter: {error}") from None
    interception.timeout = float(timeout)
    interception.after = given.get("after", interception.after)


def decide(interception: Interception, number: str, given: Mapping[str, Any]) -> None:
    """Do with a message what is given: release it, drop it, or edit its fields or bytes."""
    held = {str(each.number): each for each in interception.held}.get(number)
    if held is None:
        raise ApiError(404, f"no message {number} waits")
    what = given.get("do")
    if what == "release":
        interception.decide(held.number, None)
    elif what == "drop":
        interception.decide(held.number, Drop(str(given.get("why", "by hand"))))
    elif what == "edit":
        _edit(interception, held.number, held.message, given)
    else:
        raise bad_body("do: release, drop or edit is expected")


def _edit(
    interception: Interception, number: int, message: Message, given: Mapping[str, Any]
) -> None:
    try:
        if "raw" in given:
            interception.edit(number, raw=bytes.fromhex(given["raw"]))
            return
        fields = given.get("fields")
        if not isinstance(fields, dict) or not fields:
            raise bad_body("edit: fields with their values are expected, or raw bytes")
        record = message.record
        values = {name: _like(getattr(record, name, None), each) for name, each in fields.items()}
        interception.edit(number, **values)
    except (ValueError, TypeError, BadRecord) as error:
        raise bad_body(f"edit: {error}") from None


def _like(before: object, value: Any) -> Any:
    """Give a value as the record has it: bytes are written in hexadecimal, in wire order."""
    if isinstance(before, bytes) and isinstance(value, str):
        return bytes.fromhex(value)
    return value
