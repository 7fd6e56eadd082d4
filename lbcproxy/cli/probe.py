"""`lbcproxy probe`: who is there, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import click

from lbcproxy.cli.options import network_option, the_network

__all__ = ["command"]


@click.command(name="probe", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("address", metavar="HOST:PORT")
@network_option(required=True)
@click.option("--headers", is_flag=True, help="Ask for the headers behind the first block.")
@click.option("--ping", is_flag=True, help="Send a ping and measure the time to its pong.")
@click.option("--addresses", is_flag=True, help="Ask for addresses, and collect until --timeout.")
@click.option("--mempool", is_flag=True, help="Ask for the transactions that are in no block.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    metavar="SECONDS",
    help="How long each step may take: to connect, to shake hands, each answer (10).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(address: str, network: str, timeout: float, as_json: bool, **asked: bool) -> int:
    """Connect to a node, shake hands, say who is there, ask what the options say, and leave.

    The exit code is 1 if there was no handshake, or no answer to one of the questions.
    """
    from lbcproxy.endpoint import Endpoint

    chain = the_network(network)
    try:
        endpoint = Endpoint.parse(address)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not endpoint.host or not endpoint.port:
        raise click.UsageError(f"{address!r} is not HOST:PORT")
    questions = tuple(name for name, wanted in asked.items() if wanted)
    return _run(chain, endpoint, timeout, questions, as_json)


def _run(
    network: Any, endpoint: Any, timeout: float, questions: tuple[str, ...], as_json: bool
) -> int:
    from twisted.internet import reactor  # noqa: TID251  # the program's edge
    from twisted.internet.defer import Deferred, succeed

    from lbcproxy.cli.prober import Probe, ProbeFailed
    from lbcproxy.service import run_reactor

    probe = Probe(reactor, network, endpoint, timeout)
    stopped = False

    async def main() -> int:
        try:
            report = await probe.run(questions)
        except ProbeFailed:
            if stopped:
                return 130
            raise
        if stopped:
            return 130
        shown = as_object(report, network.id)
        click.echo(_json(shown) if as_json else "\n".join(as_lines(shown)))
        return 0 if report.complete else 1

    def stop() -> Deferred[None]:
        nonlocal stopped
        stopped = True
        probe.peer.disconnect()
        return succeed(None)

    return run_reactor(main, stop, probe.peer.abort, reactor)


def as_object(report: Any, network: str) -> dict[str, Any]:
    """Give a report as an object for `--json`; the keys are public and stay."""
    from lbcproxy.wire.messages.handshake import service_names

    known = report.known.to_dict()
    return {
        "address": known["address"],
        "network": network,
        "user_agent": known["user_agent"],
        "version": known["version"],
        "protocol_version": known["protocol_version"],
        "services": known["services"],
        "service_names": service_names(known["services"]),
        "height": known["starting_height"],
        "time_offset": known["time_offset"],
        "connect_ms": report.connect_ms,
        "handshake_ms": report.handshake_ms,
        **report.answers,
    }


def as_lines(shown: dict[str, Any]) -> list[str]:
    """Give the same as lines for people."""
    from lbcproxy.cli.prober import QUESTIONS

    services = " ".join(shown["service_names"]) or "none"
    rows = [
        ("address", shown["address"]),
        ("network", shown["network"]),
        ("user agent", shown["user_agent"] or "none"),
        ("version", f"{shown['version']}, agreed on {shown['protocol_version']}"),
        ("services", f"{services} ({shown['services']})"),
        ("height", "not said" if shown["height"] is None else f"{shown['height']:,}"),
        ("clock", f"{shown['time_offset']:+} s"),
        ("handshake", f"{shown['handshake_ms']} ms, connected in {shown['connect_ms']} ms"),
    ]
    for name in QUESTIONS:
        if name in shown:
            rows += _answer(name, shown[name])
    return [f"{name:<10}  {value}" for name, value in rows]


def _answer(name: str, answer: dict[str, Any]) -> list[tuple[str, str]]:
    if "error" in answer:
        return [(name, answer["error"])]
    if name == "ping":
        return [(name, f"{answer['ms']} ms")]
    rows = [(name, f"{answer['count']:,}")]
    rows += [(f"  {end}", answer[end]) for end in ("first", "last") if end in answer]
    each = answer.get("addresses") or answer.get("transactions") or []
    return rows + [("", value) for value in each]


def _json(shown: dict[str, Any]) -> str:
    from lbcproxy.text import printable_json

    return printable_json(json.dumps(shown, ensure_ascii=False))
