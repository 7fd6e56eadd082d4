"""Why a ring is written: what may happen to a session, declared once."""

from __future__ import annotations

import re

from lbcproxy.session import Passage, SessionSummary, Stage

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
BY_HAND = "by hand"
"""The reason of who asks for it."""

ORDERLY = re.compile(r"(client|upstream)( closed|: closed by the node.*)")
BROKEN = re.compile(r"(client|upstream)( reset|: connection lost.*)")
STOPPED = re.compile(r"proxy stopped\b.*")
NEVER_MET = "upstream unreachable"


def error_in(passage: Passage) -> str:
    """Give the reason that something that passed is, or nothing.

    What frames show counts; payloads are not decoded for it.
    """
    if passage.run is not None:
        return "reject" if "reject" in passage.run.frames.commands else ""
    for entry in passage.entries:
        if entry.message is None or entry.message.frame_error is not None:
            return "error"
        if entry.command == "reject":
            return "reject"
    return ""


def reason_of_end(summary: SessionSummary, *, broken: bool) -> tuple[str, ...]:
    """Give the reasons that the end of a session is, the first the best; none of a dial's."""
    if summary.why.startswith(NEVER_MET):
        return ()
    if STOPPED.fullmatch(summary.why):
        return ("stop",)
    broken = broken or BROKEN.fullmatch(summary.why) is not None
    reasons = ["reset"] if broken else []
    if not all(side.stage is Stage.READY for side in (summary.client, summary.upstream)):
        reasons.append("refused")
    if ORDERLY.fullmatch(summary.why):
        reasons.append("closed")
    elif not broken:
        reasons.append("dropped")
    return tuple(reasons)
