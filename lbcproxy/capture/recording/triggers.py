"""Why a ring is written: what can happen to a session, declared once."""

from __future__ import annotations

from lbcproxy.session import Delivery, EndCause, SessionSummary

__all__ = ["BY_HAND", "DEFAULT_REASONS", "REASONS", "error_in", "reason_of_end"]

REASONS = {
    "reset": "a node reset its connection",
    "refused": "the session ended before both nodes had completed their handshake",
    "dropped": "lbcproxy ended it: a timeout, a plugin, a fault, a limit",
    "closed": "a node closed its connection in order, as most nodes do that ban the other",
    "error": "bytes that are not a message, or a message whose frame is wrong",
    "reject": "a node answered with `reject`",
    "death": "the program crashes, or gets SIGABRT or SIGQUIT",
    "stop": "the program or the proxy was stopped in order",
}
DEFAULT_REASONS = ("reset", "refused", "dropped", "error", "reject", "death")
_RESET_BY_US = frozenset({EndCause.FAULT, EndCause.LOOP})
BY_HAND = "by hand"
"""The reason if a user asks for it."""


def error_in(delivery: Delivery) -> str:
    """Return the reason that a delivery gives to write a ring; empty if it gives none.

    Only frames are looked at: payloads are not decoded for this.
    """
    if delivery.run is not None:
        return "reject" if "reject" in delivery.run.frames.commands else ""
    for entry in delivery.entries:
        if entry.message is None or entry.message.frame_error is not None:
            return "error"
        if entry.command == "reject":
            return "reject"
    return ""


def reason_of_end(summary: SessionSummary, *, was_reset: bool) -> tuple[str, ...]:
    """Return the reasons that the end of a session gives, the most specific first.

    A failed dial gives none.

    Args:
        summary: The session.
        was_reset: Whether a node reset a connection, even if something else ended the session.
    """
    cause = summary.end.cause
    if cause is EndCause.UNREACHABLE:
        return ()
    if cause is EndCause.STOPPED:
        return ("stop",)
    is_reset = cause is EndCause.RESET or (was_reset and cause not in _RESET_BY_US)
    reasons = ["reset"] if is_reset else []
    if not summary.is_ready:
        reasons.append("refused")
    if cause is EndCause.CLOSED:
        reasons.append("closed")
    elif not is_reset:
        reasons.append("dropped")
    return tuple(reasons)
