"""Exceptions out of other people's code: any is contained, but Ctrl-C means the program.

A plugin may raise SystemExit and KeyboardInterrupt itself, and an exception whose text cannot be
had.
"""

from __future__ import annotations

import opcode

__all__ = ["is_ctrl_c", "words_of"]

RAISE = frozenset(opcode.opmap[name] for name in ("RAISE_VARARGS", "RERAISE"))


def is_ctrl_c(error: BaseException | None) -> bool:
    """Return whether an exception is the one that Python makes of SIGINT.

    Python raises it between two instructions, so where it began no instruction raises.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    begin = error.__traceback__
    while begin is not None and begin.tb_next is not None:
        begin = begin.tb_next
    return begin is not None and begin.tb_frame.f_code.co_code[begin.tb_lasti] not in RAISE


def words_of(error: BaseException) -> str:
    """Return the text of an exception, whatever its class makes of that."""
    try:
        return str(error)
    except BaseException as second:
        if is_ctrl_c(second):
            raise
        return f"its text raises {type(second).__name__}"
