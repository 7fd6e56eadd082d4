"""Patterns of file names: filled in, and turned round to tell which files they have made."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

from lbcproxy.errors import LbcproxyError

__all__ = ["NAMES", "BadPattern", "Made", "file_name", "is_filled_in", "misnamed", "named_folder"]

NAMES = ("network", "name", "session")
"""What may stand in braces in a file's name."""
DIRECTIVE = re.compile(r"%[-_0^#]?[EO]?([A-Za-z%])")
NUMBERS = frozenset("YmdHMSyjUWVuwGIfsCgekl")
"""Letters that strftime makes numbers of."""
AGAIN = re.compile(r"(.*)-[0-9]+(\.[^.]*)?")
"""A name that was taken: `x-2.pcapng`."""


class BadPattern(LbcproxyError, ValueError):
    """A pattern of file names that cannot be filled in; the text says where."""


def file_name(pattern: str, *, network: str, name: str, session: int | None, time_ns: int) -> str:
    """Fill in a pattern; raises BadPattern for a name in braces that means nothing."""
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    try:
        filled = moment.strftime(pattern).format(network=network, name=name, session=session)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise BadPattern(
            f"{pattern!r} cannot be filled in ({error}): in braces there may be "
            f"{', '.join(NAMES)}; a brace itself is written twice"
        ) from error
    if "\0" in filled or not filled:
        raise BadPattern(f"{pattern!r} gives no path")
    if (why := misnamed(filled)) is not None:
        raise BadPattern(f"{pattern!r}: {why}")
    return filled


def misnamed(path: str) -> str | None:
    """Return why a recording cannot have a name, one that promises another format; None if it can.

    Recordings are pcapng, which is what can be continued, and read while it is written.
    """
    from lbcproxy.capture.formats import promised_by

    promised = promised_by(Path(path))
    if promised in (None, "pcapng"):
        return None
    return f"a recording is pcapng, and not {promised}: `lbcproxy convert` writes that of one"


def is_filled_in(pattern: str) -> bool:
    """Return whether the names of a pattern's files are ours: no user gave them as they are."""
    directives = (found[1] for found in DIRECTIVE.finditer(pattern))
    fields = (field for _, field, _, _ in Formatter().parse(pattern))
    return any(each != "%" for each in directives) or "session" in fields


def named_folder(pattern: str) -> Path:
    """Return the folder of a pattern's files as far as its name is as the user gave it."""
    folder = Path()
    for part in Path(pattern).parts[:-1]:
        if "%" in part or "{" in part:
            break
        folder /= part
    return folder


class Made:
    """The files that a pattern of a recording can have made, `suffixes` behind their names."""

    def __init__(self, pattern: str, *, network: str, name: str, suffixes: tuple[str, ...]) -> None:
        path = Path(pattern)
        self._base = Path(path.anchor)
        self._parts = [
            re.compile(_expression(part, network, name))
            for part in path.parts[1 if path.anchor else 0 :]
        ]
        self._suffixes = suffixes

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Give those that are there: plain files, no links; with what the system says of them."""
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
                continue  # it is gone meanwhile
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
                again = AGAIN.fullmatch(base)
                if pattern.fullmatch(base) or (
                    again and pattern.fullmatch(again[1] + (again[2] or ""))
                ):
                    return True
        return False


def _expression(part: str, network: str, name: str) -> str:
    """Give a regular expression for what a part of a path may have become."""
    made = ""
    known = {"network": network, "name": name}
    for text, field, spec, conversion in Formatter().parse(part):
        made += _moment(text)
        if field is None:
            continue
        if field in known:
            made += re.escape(f"{{:{spec}}}".format(known[field]))
        else:
            made += "[ 0-9]+" if not (spec or conversion) else ".+"
    return made


def _moment(text: str) -> str:
    made, place = "", 0
    for found in DIRECTIVE.finditer(text):
        made += re.escape(text[place : found.start()])
        letter = found[1]
        made += "%" if letter == "%" else "[ 0-9]+" if letter in NUMBERS else ".+"
        place = found.end()
    return made + re.escape(text[place:])
