"""The numbers of the sessions of a capture."""

from __future__ import annotations

__all__ = ["SessionNumbers"]


class SessionNumbers:
    """Numbers sessions: with the file's own numbers while they are unique, otherwise in order."""

    def __init__(self) -> None:
        self._by_own: dict[object, int] = {}
        self._highest = 0
        self._before = 0  # the highest number of earlier sections
        self._keeps_own = True

    def begin_section(self) -> None:
        """Begin a section, which has numbers of its own."""
        self._by_own = {}
        self._before = self._highest
        self._keeps_own = True

    def known(self, own: object) -> int | None:
        """Return the number of the open session to which the file gives the number `own`."""
        return self._by_own.get(own)

    def remember(self, own: object, number: int) -> None:
        """Record the number of a session to which the file gives the number `own`."""
        self._by_own[own] = number

    def forget(self, own: object) -> None:
        """Forget a session that has ended."""
        self._by_own.pop(own, None)

    def next(self, own: object = 0) -> int:
        """Return a new number: `own`, if that is a number that no other session has."""
        wanted = own if isinstance(own, int) and own < 1 << 32 else 0
        if self._keeps_own and wanted > self._before and own not in self._by_own:
            self._highest = max(self._highest, wanted)
            return wanted  # in a part of a capture, sessions may begin in any order
        self._keeps_own = False
        self._highest = max(self._highest + 1, wanted)
        return self._highest
