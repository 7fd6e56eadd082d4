"""How `lbcproxy info` looks: facts, and tables as wide as the terminal; plain text in a pipe."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from lbcproxy.capture.tcp.silent import silent_sentences
from lbcproxy.text import printable, printable_values

__all__ = ["print_report"]

PIPE_WIDTH = 4_000
"""Columns where there is no terminal: nothing is cut."""
ARROWS = {"to_upstream": "->", "to_client": "<-"}
LISTED = 20
TIMES = ("median", "p99", "longest")


def print_report(shown: dict[str, Any], stream: TextIO) -> None:
    """Print what `Summary.to_dict` gives; its texts are those of a file and of peers."""
    shown = printable_values(shown)
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        _print(shown, Console(file=stream, width=width, markup=False, highlight=False, emoji=False))
        return
    text = io.StringIO()
    plain = Console(
        file=text, width=PIPE_WIDTH, color_system=None, markup=False, highlight=False, emoji=False
    )
    _print(shown, plain)
    for line in text.getvalue().splitlines():
        print(line.rstrip(), file=stream)


def _print(shown: dict[str, Any], console: Console) -> None:
    console.print(shown["file"], style="bold", soft_wrap=True)
    for name, value in _facts(shown):
        console.print(f"  {name:<9} {value}", soft_wrap=True)
    for title, table in (
        ("Sessions", _sessions(shown)),
        ("Nodes", _nodes(shown)),
        ("Peers", _peers(shown)),
        ("User agents", _agents(shown)),
        ("Messages", _messages(shown)),
        ("Answers", _answers(shown)),
        ("Decided by", _deciders(shown)),
        ("Gaps", _gaps(shown)),
        ("Errors", _errors(shown)),
    ):
        if table.row_count:
            console.print(f"\n{title}", style="bold")
            console.print(table)
    console.print()


def _facts(shown: dict[str, Any]) -> Iterable[tuple[str, str]]:
    size = "" if shown["size"] is None else f"{shown['size']:,} bytes, "
    yield "format", f"{shown['format']}, {size}{shown['packets']:,} packets"
    for comment in shown["comments"]:
        yield "comment", comment
    yield "network", ", ".join(shown["networks"]) or "none found"
    if shown["begin"] is not None:
        yield (
            "time",
            f"{_clock(shown['begin'])} to {_clock(shown['end'])} UTC, {_span(shown['seconds'])}",
        )
    yield "sessions", f"{shown['session_count']:,}"
    up, down = (shown["messages"][direction] for direction in ARROWS)
    yield "messages", f"{up['count'] + down['count']:,}, {up['bytes'] + down['bytes']:,} bytes"
    rates = shown["rates"]
    if rates["messages"] is not None:
        yield "rate", f"{rates['messages']:,.1f} messages/s, {_rate(rates['bytes'])}"
    junk = [shown["junk"][direction] for direction in ARROWS]
    if any(each["bytes"] for each in junk):
        count, size = (sum(each[key] for each in junk) for key in ("count", "bytes"))
        yield "junk", f"{size:,} bytes that are no message, in {count:,} places"
    yield "gaps", _gap_words(shown)
    yield from _lost(shown)
    yield "errors", _error_words(shown["error_count"], sum(each["count"] for each in junk))
    if shown["verdicts"]:
        yield (
            "verdicts",
            ", ".join(f"{name} {count:,}" for name, count in shown["verdicts"].items()),
        )
    silent = silent_sentences(shown["silent"])
    for notice in shown["notices"]:
        if notice in silent:
            yield "no bytes", notice
        else:
            yield "assumed" if notice in shown["assumed"] else "not read", notice
    if shown["damage"] is not None:
        damage = shown["damage"]
        yield "damage", f"at byte {damage['offset']:,}: {damage['what']}; this is what is before it"


COUNTERS = {
    "received": "received",
    "dropped": "dropped by the interface",
    "accepted": "passed a filter",
    "dropped_by_system": "dropped by the system",
    "delivered": "delivered",
}


def _lost(shown: dict[str, Any]) -> Iterable[tuple[str, str]]:
    lost = shown["lost"]
    if lost["messages"] or lost["bytes"]:
        yield "lost", f"{lost['messages']:,} messages, {lost['bytes']:,} bytes of capture"
    if lost["packets"]:
        yield "lost", f"{lost['packets']:,} packets, by who recorded them"
    for each in shown["counters"]:
        words = [f"{each[key]:,} {name}" for key, name in COUNTERS.items() if each[key] is not None]
        if words:
            yield "packets", f"of interface {each['interface']}: {', '.join(words)}"


def _sessions(shown: dict[str, Any]) -> Table:
    missing = ["missing>"] if shown["missing"] else []
    table = _table(
        *("#>", "client", "node", "begin", "time>", "->>", "bytes>", "<->", "bytes>"),
        *(*missing, "end"),
    )
    for each in shown["sessions"]:
        up, down = each["to_upstream"], each["to_client"]
        begin = _day_time(each["begin"], shown["begin"])
        table.add_row(
            f"#{each['number']}",
            each["client"],
            each["upstream"] or each["server"],
            begin if each["begun"] else f"before {begin}",
            _span(each["seconds"]),
            f"{up['messages']:,}",
            f"{up['bytes']:,}",
            f"{down['messages']:,}",
            f"{down['bytes']:,}",
            *([f"{each['missing']:,}"] if missing else []),
            printable(each["how"]),
        )
    _more(table, shown["session_count"] - len(shown["sessions"]))
    return table


def _nodes(shown: dict[str, Any]) -> Table:
    table = _table("#>", "", "user agent", "version>", "services>", "height>", "handshake")
    for each in shown["sessions"]:
        for direction, arrow in ARROWS.items():
            side = each[direction]
            if side["messages"]:
                table.add_row(
                    f"#{each['number']}",
                    arrow,
                    "" if side["user_agent"] is None else side["user_agent"],
                    *(
                        "" if side[key] is None else str(side[key])
                        for key in ("version", "services")
                    ),
                    "" if side["height"] is None else f"{side['height']:,}",
                    side["stage"],
                )
    return table


def _peers(shown: dict[str, Any]) -> Table:
    table = _table("", "address", "sessions>")
    if shown["session_count"] > 1:
        for each in shown["peers"][:LISTED]:
            table.add_row(each["side"], each["address"], f"{each['count']:,}")
        _more(table, len(shown["peers"]) - LISTED)
    return table


def _agents(shown: dict[str, Any]) -> Table:
    table = _table("", "user agent", "version>", "sessions>")
    if shown["session_count"] > 1:
        for each in shown["agents"][:LISTED]:
            agent = each["user_agent"]
            table.add_row(each["side"], agent, str(each["version"]), f"{each['count']:,}")
        _more(table, len(shown["agents"]) - LISTED)
    return table


def _answers(shown: dict[str, Any]) -> Table:
    table = _table(
        *("", "", "asked>", "answered>", "not found>", "never>"),
        *(["not followed>"] if any(each["not_followed"] for each in shown["answers"]) else []),
        *("median>", "99 %>", "longest>"),
    )
    for each in shown["answers"]:
        counts = ["requests", "answered", "not_found", "unanswered"]
        counts += ["not_followed"] if len(table.columns) > 9 else []
        table.add_row(
            each["pair"],
            ARROWS[each["direction"]],
            *(f"{each[key]:,}" if each[key] or key == "requests" else "" for key in counts),
            *("" if each[key] is None else _short(each[key]) for key in TIMES),
        )
    return table


def _deciders(shown: dict[str, Any]) -> Table:
    table = _table("verdict", "by", "messages>")
    for each in shown["deciders"][:LISTED]:
        table.add_row(each["verdict"], printable(each["who"], 60), f"{each['count']:,}")
    _more(table, len(shown["deciders"]) - LISTED)
    return table


def _messages(shown: dict[str, Any]) -> Table:
    table = _table("command", "->>", "bytes>", "<->", "bytes>", "errors>")
    rows: dict[str, dict[str, Any]] = {}
    for each in shown["commands"]:
        rows.setdefault(each["command"], {})[each["direction"]] = each
    for command, row in rows.items():
        cells = []
        for direction in ARROWS:
            found = row.get(direction)
            cells += ["", ""] if found is None else [f"{found['count']:,}", f"{found['bytes']:,}"]
        errors = sum(each["errors"] for each in row.values())
        table.add_row(command, *cells, f"{errors:,}" if errors else "")
    return table


def _error_words(count: int, junk: int) -> str:
    """Say how many errors there are, of which so many are bytes that are no message."""
    words = [f"{count - junk:,} messages"] if count > junk else []
    words += [f"junk in {junk:,} places"] if junk else []
    return ", ".join(words) or "none"


def _gap_words(shown: dict[str, Any]) -> str:
    count, unknown = shown["gap_count"], shown["gaps_of_unknown_size"]
    if not count:
        return "none"
    if count == unknown:
        return f"{count:,} of unknown size"
    words = f"{count:,}, {shown['missing']:,} bytes missing"
    return f"{words}, and {unknown:,} of unknown size" if unknown else words


def _gaps(shown: dict[str, Any]) -> Table:
    table = _table("number>", "time", "#>", "", "missing>", "")
    for each in shown["gaps"][:LISTED]:
        missing = "?" if each["missing"] < 0 else f"{each['missing']:,}"
        table.add_row(*_where(each, shown), missing, each["what"])
    _more(table, shown["gap_count"] - LISTED)
    return table


def _errors(shown: dict[str, Any]) -> Table:
    table = _table("number>", "time", "#>", "", "command", "error")
    for each in shown["errors"][:LISTED]:
        table.add_row(*_where(each, shown), printable(each["command"]), printable(each["error"]))
    _more(table, shown["error_count"] - LISTED)
    return table


def _where(each: dict[str, Any], shown: dict[str, Any]) -> tuple[str, str, str, str]:
    time = _day_time(each["time"], shown["begin"])
    return f"{each['number']:,}", time, f"#{each['session']}", ARROWS[each["direction"]]


def _table(*columns: str) -> Table:
    """Make a table; a column whose name ends with `>` is aligned right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        right = name.endswith(">") and name != "->"
        table.add_column(
            name[:-1] if right else name,
            justify="right" if right else "left",
            overflow="ellipsis",
            no_wrap=right,
        )
    return table


def _more(table: Table, left: int) -> None:
    if left > 0:
        table.add_row("", f"{left:,} more")


def _clock(time: str) -> str:
    """Cut an ISO time to what people read: date, time, milliseconds."""
    return time.replace("T", " ")[:23]


def _day_time(time: str, begin: str | None) -> str:
    """Leave the date out where it is that of the capture's beginning."""
    clock = _clock(time)
    return clock[11:] if begin is not None and clock[:10] == begin[:10] else clock


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _short(seconds: float) -> str:
    """Write a time of any size in three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:,.{2 if seconds < 10 * size else 1}f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _rate(size: float) -> str:
    for unit in ("B/s", "kB/s", "MB/s"):
        if size < 1000 or unit == "MB/s":
            break
        size /= 1000
    return f"{size:,.1f} {unit}"
