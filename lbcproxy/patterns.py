"""Regular expressions of users, searched in time linear in the text.

The searched text is chosen by a peer: in Python's engine, 27 letters of a user agent can take
seconds, and each further letter doubles that. RE2 does not backtrack, so it has no look-around and
no back-references. It also bounds the size of compiled patterns.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable

import re2

__all__ = ["MAX_PROGRAM", "BadPattern", "searcher"]

MAX_PROGRAM = 2_000
"""Maximum number of instructions of a pattern; the time per byte is proportional to it."""
MAX_MEMORY = 1 << 20
"""Maximum size of a compiled pattern and its cache in bytes."""
MAX_KNOWN, MAX_KNOWN_LENGTH = 256, 64
"""Maximum number, and length in characters, of texts whose results a pattern caches."""
UP_TO = re.compile(r"(?<!\\)\{,[0-9]+\}")
MISSING = {
    "(?=": "look-aheads",
    "(?!": "look-aheads",
    "(?<=": "look-behinds",
    "(?<!": "look-behinds",
    "(?>": "atomic groups",
    "(?(": "conditions",
    "(?#": "comments",
    "(?P=": "back-references",
    "(?x": "patterns with blanks",
    "++": "possessive repetitions",
    "*+": "possessive repetitions",
    "?+": "possessive repetitions",
    **{rf"\{digit}": "back-references" for digit in range(1, 10)},
}
INSTEAD = {
    r"\Z": r"the end of the text is \z, or $",
    r"\u": r"a character by its number is \x{2014}",
    r"\U": r"a character by its number is \x{1F600}",
}


class BadPattern(ValueError):
    """An invalid pattern; `place` is the index of the character that is wrong, if known."""

    def __init__(self, what: str, place: int | None = None, hint: str = "") -> None:
        self.place = place
        self.hint = hint
        super().__init__(what)


def searcher(pattern: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Return a function that returns whether a text contains the pattern; raises BadPattern."""
    if (found := UP_TO.search(pattern)) is not None:  # for RE2 it is plain text
        hint = f"write {found[0].replace(',', '0,')}"
        raise BadPattern("repetition without a least number", found.start(), hint)
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise _bad(pattern, error) from None
    if compiled.programsize > MAX_PROGRAM:
        raise BadPattern("the pattern is too large: repeat less")
    search = compiled.search

    def found_in(text: str) -> bool:
        # As bytes: for a str, re2 would count the characters before the match.
        return search(text.encode("utf-8", "surrogatepass")) is not None

    # Commands, hosts and user agents are repeated often, and calling RE2 is slow.
    known = functools.lru_cache(MAX_KNOWN)(found_in)
    return lambda text: known(text) if len(text) <= MAX_KNOWN_LENGTH else found_in(text)


def _bad(pattern: str, error: Exception) -> BadPattern:
    """Return the error of a pattern; Python's own text if Python rejects it too."""
    if isinstance(error, UnicodeEncodeError):
        return BadPattern("half of a surrogate pair is not a character", error.start)
    what, _, piece = error.args[0].decode("utf-8", "replace").partition(": ")
    if piece == "(?P" and "(?P=" in pattern:
        piece = "(?P="
    place = pattern.find(piece) if piece and piece != pattern else 0 if piece else None
    if "too large" in what or "repetition size" in what:
        return BadPattern("the pattern is too large: repeat less", place)
    if place is not None and (missing := _missing(pattern[place:])) is not None:
        return BadPattern(f"there are no {missing}", place)
    if piece in INSTEAD:
        return BadPattern(what, place, INSTEAD[piece])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as known:
        return BadPattern(str(getattr(known, "msg", known)), getattr(known, "pos", None))
    return BadPattern(what, place)


def _missing(rest: str) -> str | None:
    """Return the name of the Python syntax that a text begins with, if RE2 lacks it."""
    return next((name for begin, name in MISSING.items() if rest.startswith(begin)), None)
