"""Exceptions from plugin code: all are contained, except the one that Ctrl-C causes.

A plugin may raise SystemExit and KeyboardInterrupt itself, and exceptions whose `str` raises.
"""

from __future__ import annotations

import opcode

__all__ = ["is_ctrl_c", "words_of"]

RAISE = frozenset(opcode.opmap[name] for name in ("RAISE_VARARGS", "RERAISE"))


def is_ctrl_c(error: BaseException | None) -> bool:
    """Return whether an exception was raised by Python for SIGINT.

    Python raises it between two instructions, so its first frame is not at a raise instruction.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    begin = error.__traceback__
    while begin is not None and begin.tb_next is not None:
        begin = begin.tb_next
    return begin is not None and begin.tb_frame.f_code.co_code[begin.tb_lasti] not in RAISE


def words_of(error: BaseException) -> str:
    """Return the text of an exception, even if its `str` raises."""
    try:
        return str(error)
    except BaseException as second:
        if is_ctrl_c(second):
            raise
        return f"its text raises {type(second).__name__}"
