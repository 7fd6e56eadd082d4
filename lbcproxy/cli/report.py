"""What `lbcproxy info` prints: facts and tables, as wide as the terminal; plain text in a pipe."""

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

PLAIN: dict[str, bool] = {"markup": False, "highlight": False, "emoji": False}
"""Rich is not to interpret the texts."""
PIPE_WIDTH = 4_000
"""Columns where there is no terminal, so that nothing is cut."""
ARROWS = {"to_upstream": "->", "to_client": "<-"}
MAX_ROWS = 20
TIMES = ("median", "p99", "longest")

Object = dict[str, Any]
"""A JSON object of `Summary.to_dict`; docs/captures.md describes its keys."""


def print_report(summary: Object, stream: TextIO) -> None:
    """Print what `Summary.to_dict` returns, whose texts come from a file and from peers."""
    summary = printable_values(summary)
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        _print(
            summary, Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
        )
        return
    text = io.StringIO()
    plain = Console(
        file=text, width=PIPE_WIDTH, color_system=None, markup=False, highlight=False, emoji=False
    )
    _print(summary, plain)
    for line in text.getvalue().splitlines():
        print(line.rstrip(), file=stream)


def _print(summary: Object, console: Console) -> None:
    console.print(summary["file"], style="bold", soft_wrap=True)
    for name, value in _rows(summary):
        console.print(f"  {name:<9} {value}", soft_wrap=True)
    for title, table in (
        ("Sessions", _sessions(summary)),
        ("Nodes", _nodes(summary)),
        ("Peers", _peers(summary)),
        ("User agents", _agents(summary)),
        ("Messages", _messages(summary)),
        ("Answers", _answers(summary)),
        ("Decided by", _deciders(summary)),
        ("Gaps", _gaps(summary)),
        ("Errors", _errors(summary)),
    ):
        if table.row_count:
            console.print(f"\n{title}", style="bold")
            console.print(table)
    console.print()


def _rows(summary: Object) -> Iterable[tuple[str, str]]:
    size = "" if summary["size"] is None else f"{summary['size']:,} bytes, "
    yield "format", f"{summary['format']}, {size}{summary['packets']:,} packets"
    for comment in summary["comments"]:
        yield "comment", comment
    yield "network", ", ".join(summary["networks"]) or "none found"
    if summary["begin"] is not None:
        begin, end = _clock(summary["begin"]), _clock(summary["end"])
        yield "time", f"{begin} to {end} UTC, {_span(summary['seconds'])}"
    yield "sessions", f"{summary['session_count']:,}"
    up, down = (summary["messages"][direction] for direction in ARROWS)
    yield "messages", f"{up['count'] + down['count']:,}, {up['bytes'] + down['bytes']:,} bytes"
    rates = summary["rates"]
    if rates["messages"] is not None:
        yield "rate", f"{rates['messages']:,.1f} messages/s, {_rate(rates['bytes'])}"
    junk = [summary["junk"][direction] for direction in ARROWS]
    if any(each["bytes"] for each in junk):
        count, size = (sum(each[key] for each in junk) for key in ("count", "bytes"))
        yield "junk", f"{size:,} bytes that are not a message, in {count:,} places"
    yield "gaps", _describe_gaps(summary)
    yield from _lost(summary)
    yield "errors", _describe_errors(summary["error_count"], sum(each["count"] for each in junk))
    if summary["verdicts"]:
        yield (
            "verdicts",
            ", ".join(f"{name} {count:,}" for name, count in summary["verdicts"].items()),
        )
    silent = silent_sentences(summary["silent"])
    for notice in summary["notices"]:
        if notice in silent:
            yield "no bytes", notice
        else:
            yield "assumed" if notice in summary["assumed"] else "not read", notice
    if summary["damage"] is not None:
        damage = summary["damage"]
        what = f"{damage['what']}; this summary covers what is before it"
        yield "damage", f"at byte {damage['offset']:,}: {what}"


COUNTERS = {
    "received": "received",
    "dropped": "dropped by the interface",
    "accepted": "passed a filter",
    "dropped_by_system": "dropped by the system",
    "delivered": "delivered",
}


def _lost(summary: Object) -> Iterable[tuple[str, str]]:
    lost = summary["lost"]
    if lost["messages"] or lost["bytes"]:
        yield "lost", f"{lost['messages']:,} messages, {lost['bytes']:,} bytes of capture"
    if lost["packets"]:
        yield "lost", f"{lost['packets']:,} packets, according to the program that recorded them"
    for each in summary["counters"]:
        parts = [f"{each[key]:,} {name}" for key, name in COUNTERS.items() if each[key] is not None]
        if parts:
            yield "packets", f"of interface {each['interface']}: {', '.join(parts)}"


def _sessions(summary: Object) -> Table:
    missing = ["missing>"] if summary["missing"] else []
    shown = ["transport"] if any("transports" in each for each in summary["sessions"]) else []
    table = _table(
        *("#>", "client", "node", "begin", "time>", "->>", "bytes>", "<->", "bytes>"),
        *(*missing, *shown, "end"),
    )
    for each in summary["sessions"]:
        up, down = each["to_upstream"], each["to_client"]
        begin = _day_time(each["begin"], summary["begin"])
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
            *([_transport(each)] if shown else []),
            printable(each["how"]),
        )
    _more(table, summary["session_count"] - len(summary["sessions"]))
    return table


def _transport(session: Object) -> str:
    """Return the transport of a session, or those of its legs if they differ."""
    legs = session.get("transports")
    if legs is None:
        return "v1"
    client, upstream = legs["client"]["kind"], legs["upstream"]["kind"]
    return str(client) if client == upstream else f"{client}, {upstream} to the node"


def _nodes(summary: Object) -> Table:
    table = _table("#>", "", "user agent", "version>", "services>", "height>", "handshake")
    for each in summary["sessions"]:
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


def _peers(summary: Object) -> Table:
    table = _table("", "address", "sessions>")
    if summary["session_count"] > 1:
        for each in summary["peers"][:MAX_ROWS]:
            table.add_row(each["side"], each["address"], f"{each['count']:,}")
        _more(table, len(summary["peers"]) - MAX_ROWS)
    return table


def _agents(summary: Object) -> Table:
    table = _table("", "user agent", "version>", "sessions>")
    if summary["session_count"] > 1:
        for each in summary["agents"][:MAX_ROWS]:
            agent = each["user_agent"]
            table.add_row(each["side"], agent, str(each["version"]), f"{each['count']:,}")
        _more(table, len(summary["agents"]) - MAX_ROWS)
    return table


def _answers(summary: Object) -> Table:
    table = _table(
        *("", "", "asked>", "answered>", "not found>", "never>"),
        *(["not followed>"] if any(each["not_followed"] for each in summary["answers"]) else []),
        *("median>", "99 %>", "longest>"),
    )
    for each in summary["answers"]:
        counts = ["requests", "answered", "not_found", "unanswered"]
        counts += ["not_followed"] if len(table.columns) > 9 else []
        table.add_row(
            each["pair"],
            ARROWS[each["direction"]],
            *(f"{each[key]:,}" if each[key] or key == "requests" else "" for key in counts),
            *("" if each[key] is None else _short(each[key]) for key in TIMES),
        )
    return table


def _deciders(summary: Object) -> Table:
    table = _table("verdict", "by", "messages>")
    for each in summary["deciders"][:MAX_ROWS]:
        table.add_row(each["verdict"], printable(each["who"], 60), f"{each['count']:,}")
    _more(table, len(summary["deciders"]) - MAX_ROWS)
    return table


def _messages(summary: Object) -> Table:
    table = _table("command", "->>", "bytes>", "<->", "bytes>", "errors>")
    rows: dict[str, Object] = {}
    for each in summary["commands"]:
        rows.setdefault(each["command"], {})[each["direction"]] = each
    for command, row in rows.items():
        cells = []
        for direction in ARROWS:
            found = row.get(direction)
            cells += ["", ""] if found is None else [f"{found['count']:,}", f"{found['bytes']:,}"]
        errors = sum(each["errors"] for each in row.values())
        table.add_row(command, *cells, f"{errors:,}" if errors else "")
    return table


def _describe_errors(count: int, junk: int) -> str:
    """Return the number of errors, `junk` of which are bytes that are not a message."""
    parts = [f"{count - junk:,} messages"] if count > junk else []
    parts += [f"junk in {junk:,} places"] if junk else []
    return ", ".join(parts) or "none"


def _describe_gaps(summary: Object) -> str:
    count, unknown = summary["gap_count"], summary["gaps_of_unknown_size"]
    if not count:
        return "none"
    if count == unknown:
        return f"{count:,} of unknown size"
    known = f"{count:,}, {summary['missing']:,} bytes missing"
    return f"{known}, and {unknown:,} of unknown size" if unknown else known


def _gaps(summary: Object) -> Table:
    table = _table("number>", "time", "#>", "", "missing>", "")
    for each in summary["gaps"][:MAX_ROWS]:
        missing = "?" if each["missing"] < 0 else f"{each['missing']:,}"
        table.add_row(*_where(each, summary), missing, each["what"])
    _more(table, summary["gap_count"] - MAX_ROWS)
    return table


def _errors(summary: Object) -> Table:
    table = _table("number>", "time", "#>", "", "command", "error")
    for each in summary["errors"][:MAX_ROWS]:
        table.add_row(*_where(each, summary), printable(each["command"]), printable(each["error"]))
    _more(table, summary["error_count"] - MAX_ROWS)
    return table


def _where(each: Object, summary: Object) -> tuple[str, str, str, str]:
    time = _day_time(each["time"], summary["begin"])
    return f"{each['number']:,}", time, f"#{each['session']}", ARROWS[each["direction"]]


def _table(*columns: str) -> Table:
    """Return a table; columns whose name ends with `>` are right-aligned."""
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


def _more(table: Table, omitted: int) -> None:
    if omitted > 0:
        table.add_row("", f"{omitted:,} more")


def _clock(time: str) -> str:
    """Shorten an ISO time to date, time and milliseconds."""
    return time.replace("T", " ")[:23]


def _day_time(time: str, begin: str | None) -> str:
    """Return a time without its date, if that is the date on which the capture starts."""
    clock = _clock(time)
    return clock[11:] if begin is not None and clock[:10] == begin[:10] else clock


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _short(seconds: float) -> str:
    """Return a duration of any size with three digits."""
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
