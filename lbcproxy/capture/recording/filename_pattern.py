"""Patterns of file names: filled in, and matched to find the files they can have made."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

from lbcproxy.errors import LbcproxyError

__all__ = [
    "FIELDS",
    "FilenamePatternError",
    "FilesOfPattern",
    "file_name",
    "fixed_folder",
    "format_problem",
    "has_generated_names",
]

FIELDS = ("network", "name", "session")
"""What may be in braces in a pattern."""
DIRECTIVE = re.compile(r"%[-_0^#]?[EO]?([A-Za-z%])")
NUMERIC = frozenset("YmdHMSyjUWVuwGIfsCgekl")
"""Letters that strftime replaces by numbers."""
NUMBERED = re.compile(r"(.*)-[0-9]+")
"""The stem of a name after one that was taken: `x-2.pcapng`."""


class FilenamePatternError(LbcproxyError, ValueError):
    """A pattern of file names that cannot be filled in; the text says where."""


def file_name(pattern: str, *, network: str, name: str, session: int | None, time_ns: int) -> str:
    """Return the path that a pattern makes.

    Args:
        pattern: A path with `%` directives of strftime and fields in braces.
        network: The network's id.
        name: The proxy's name.
        session: The session's number, if each session has a file of its own.
        time_ns: Nanoseconds since 1970, used in UTC.

    Raises:
        FilenamePatternError: The pattern cannot be filled in, or the name promises another format.
    """
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    try:
        filled = moment.strftime(pattern).format(network=network, name=name, session=session)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise FilenamePatternError(
            f"{pattern!r} cannot be filled in ({error}): braces may contain "
            f"{', '.join(FIELDS)}; a brace itself is written twice"
        ) from error
    if "\0" in pattern + filled or not filled:  # some versions of strftime stop at a NUL
        raise FilenamePatternError(f"{pattern!r} does not make a path")
    if (problem := format_problem(filled)) is not None:
        raise FilenamePatternError(f"{pattern!r}: {problem}")
    return filled


def format_problem(path: str) -> str | None:
    """Return why a recording cannot have a name that promises another format; None if it can.

    Recordings are pcapng, since that can be continued, and read while it is written.
    """
    from lbcproxy.capture.formats import promised_by

    promised = promised_by(Path(path))
    if promised in (None, "pcapng"):
        return None
    return f"a recording is pcapng, not {promised}: `lbcproxy convert` makes one from it"


def has_generated_names(pattern: str) -> bool:
    """Return whether a pattern makes names with a time or a number, which no user chose."""
    directives = (found[1] for found in DIRECTIVE.finditer(pattern))
    fields = (field for _, field, _, _ in Formatter().parse(pattern))
    return any(each != "%" for each in directives) or "session" in fields


def fixed_folder(pattern: str) -> Path:
    """Return the folder of a pattern's files, up to the first part that is filled in."""
    folder = Path()
    for part in Path(pattern).parts[:-1]:
        if "%" in part or "{" in part:
            break
        folder /= part
    return folder


class FilesOfPattern:
    """The files that a recording's pattern can have made, with or without one of `suffixes`."""

    def __init__(self, pattern: str, *, network: str, name: str, suffixes: tuple[str, ...]) -> None:
        path = Path(pattern)
        self._base = Path(path.anchor)
        self._parts = [
            re.compile(_expression(part, network, name))
            for part in path.parts[1 if path.anchor else 0 :]
        ]
        self._suffixes = suffixes

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Return the existing ones and their status: regular files, but no symbolic links."""
        if self._parts:
            yield from self._below(self._base, 0)

    def _below(self, folder: Path, depth: int) -> Iterator[tuple[Path, os.stat_result]]:
        last = depth == len(self._parts) - 1
        try:
            with os.scandir(folder) as entries:
                found = [each.name for each in entries if self._fits(each.name, depth, last)]
        except OSError:
            return
        for name in found:
            path = folder / name
            try:
                state = path.lstat()
            except OSError:
                continue  # it has been removed
            if last and stat.S_ISREG(state.st_mode):
                yield path, state
            elif not last and stat.S_ISDIR(state.st_mode):
                yield from self._below(path, depth + 1)

    def _fits(self, name: str, depth: int, last: bool) -> bool:
        pattern = self._parts[depth]
        if not last:
            return pattern.fullmatch(name) is not None
        for suffix in ("", *self._suffixes):
            if name.endswith(suffix):
                base = name.removesuffix(suffix)
                if pattern.fullmatch(base):
                    return True
                numbered = NUMBERED.fullmatch(Path(base).stem)
                if numbered and pattern.fullmatch(numbered[1] + Path(base).suffix):
                    return True
        return False


def _expression(part: str, network: str, name: str) -> str:
    """Return a regular expression for what a part of a path can have become."""
    expression = ""
    known = {"network": network, "name": name}
    for text, field, spec, conversion in Formatter().parse(part):
        expression += _time_expression(text)
        if field is None:
            continue
        if field in known:
            expression += re.escape(f"{{:{spec}}}".format(known[field]))
        else:
            expression += "[ 0-9]+" if not (spec or conversion) else ".+"
    return expression


def _time_expression(text: str) -> str:
    expression, end = "", 0
    for found in DIRECTIVE.finditer(text):
        expression += re.escape(text[end : found.start()])
        letter = found[1]
        expression += "%" if letter == "%" else "[ 0-9]+" if letter in NUMERIC else ".+"
        end = found.end()
    return expression + re.escape(text[end:])
