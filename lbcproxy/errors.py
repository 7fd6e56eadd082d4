"""The base class of all errors that lbcproxy raises deliberately.

Each package has subclasses. Any other exception from a public function is a bug.
"""

__all__ = ["CaptureError", "LbcproxyError", "UnknownNetwork"]


class LbcproxyError(Exception):
    """An error that a user can act on; the text says what is wrong and where."""

    hint = ""
    """Advice beyond the text, if any."""
    exit_code = 1
    """The exit code of the program if this error ends it."""


class CaptureError(LbcproxyError):
    """A capture file cannot be read from some offset on, or cannot be written.

    `offset` is in bytes from the start of the file, or None. What was read before it is valid.
    """

    def __init__(self, what: str, offset: int | None = None) -> None:
        self.what = what
        self.offset = offset
        super().__init__(what if offset is None else f"{what} (at byte {offset:,} of the file)")


class UnknownNetwork(LbcproxyError):
    """A capture does not say which network its traffic belongs to; the text lists candidates."""
