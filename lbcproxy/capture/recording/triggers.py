"""Why a ring is written: what may happen to a session, declared once."""

from __future__ import annotations

from lbcproxy.session import Delivery, EndCause, SessionSummary

__all__ = ["BY_HAND", "DEFAULT_REASONS", "REASONS", "error_in", "reason_of_end"]

REASONS = {
    "reset": "a node broke its connection off",
    "refused": "the session ended before both nodes had finished their handshake",
    "dropped": "we ended it: a timeout, a plugin, a fault, a bound",
    "closed": "a node closed its connection in order, as most do that ban the other",
    "error": "bytes came that are no message, or a message whose frame is wrong",
    "reject": "a node answered with `reject`",
    "death": "the program ends by a defect, or by SIGABRT or SIGQUIT",
    "stop": "the program or the proxy was stopped in order",
}
DEFAULT_REASONS = ("reset", "refused", "dropped", "error", "reject", "death")
_BROKEN_BY_US = frozenset({EndCause.FAULT, EndCause.LOOP})
BY_HAND = "by hand"
"""The reason of who asks for it."""


def error_in(delivery: Delivery) -> str:
    """Give the reason that something that passed is, or nothing.

    What frames show counts; payloads are not decoded for it.
    """
    if delivery.run is not None:
        return "reject" if "reject" in delivery.run.frames.commands else ""
    for entry in delivery.entries:
        if entry.message is None or entry.message.frame_error is not None:
            return "error"
        if entry.command == "reject":
            return "reject"
    return ""


def reason_of_end(summary: SessionSummary, *, broken: bool) -> tuple[str, ...]:
    """Return the reasons that the end of a session is, the best first; none of a failed dial.

    `broken` tells whether the session was broken off, even if something else ended it first.
    """
    cause = summary.end.cause
    if cause is EndCause.UNREACHABLE:
        return ()
    if cause is EndCause.STOPPED:
        return ("stop",)
    broken = cause is EndCause.RESET or (broken and cause not in _BROKEN_BY_US)
    reasons = ["reset"] if broken else []
    if not summary.is_ready:
        reasons.append("refused")
    if cause is EndCause.CLOSED:
        reasons.append("closed")
    elif not broken:
        reasons.append("dropped")
    return tuple(reasons)
