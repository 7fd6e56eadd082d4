"""The base of every error lbcproxy raises on purpose.

Each package adds its own below; whatever else comes out of a public call is a bug.
"""

__all__ = ["CaptureError", "LbcproxyError", "UnknownNetwork"]


class LbcproxyError(Exception):
    """Something is wrong that a person can do something about; the text says what and where."""

    hint = ""
    """What might help, where there is more to say than what is wrong."""
    exit_code = 1
    """With what the program ends if it ends for this."""


class CaptureError(LbcproxyError):
    """A capture file cannot be read on from some place, or cannot be written.

    `offset` is the place in bytes from the start of the file, or None where there is none.
    What was read before it is good.
    """

    def __init__(self, what: str, offset: int | None = None) -> None:
        self.what = what
        self.offset = offset
        super().__init__(what if offset is None else f"{what} (at byte {offset:,} of the file)")


class UnknownNetwork(LbcproxyError):
    """A capture does not tell which network its traffic belongs to; the text names candidates."""
