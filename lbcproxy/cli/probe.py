"""`lbcproxy probe`: connect to a node and report what it says about itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from lbcproxy.cli.options import network_option, the_network, transport_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lbcproxy.cli.prober import ProbeReport
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.networks import Network

__all__ = ["command"]


@click.command(name="probe", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("address", metavar="HOST:PORT")
@network_option(required=True)
@click.option("--headers", is_flag=True, help="Request the headers after the genesis block.")
@click.option("--ping", is_flag=True, help="Send a ping and measure the round-trip time.")
@click.option(
    "--addresses", is_flag=True, help="Request addresses, and collect them until --timeout."
)
@click.option("--mempool", is_flag=True, help="Request the transactions in the mempool.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    metavar="SECONDS",
    help="The time limit for each step: connecting, the handshake, each answer (10).",
)
@transport_option("v1", "auto tries v2, then v1 if the node cannot encrypt.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    address: str, network: str, timeout: float, transport: str, as_json: bool, **asked: bool
) -> int:
    """Connect to a node, do the handshake, report what the node says, and disconnect.

    The exit code is 1 if the handshake fails or a request is not answered.
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
    return _run(chain, endpoint, timeout, transport, questions, as_json)


def _run(
    network: Network,
    endpoint: Endpoint,
    timeout: float,
    transport: str,
    questions: tuple[str, ...],
    as_json: bool,
) -> int:
    from twisted.internet.defer import Deferred, succeed

    from lbcproxy.cli.exit_codes import ExitCode
    from lbcproxy.cli.prober import Probe, ProbeFailed
    from lbcproxy.cli.reactor import the_reactor
    from lbcproxy.peer import Transport
    from lbcproxy.service import run_reactor

    reactor = the_reactor()
    probe = Probe(reactor, network, endpoint, timeout, Transport(transport))
    stopped = False

    async def main() -> int:
        try:
            report = await probe.run(questions)
        except ProbeFailed:
            if stopped:
                return ExitCode.INTERRUPTED
            raise
        if stopped:
            return ExitCode.INTERRUPTED
        shown = as_object(report, network.id)
        click.echo(_json(shown) if as_json else "\n".join(as_lines(shown)))
        return ExitCode.OK if report.complete else ExitCode.ERROR

    def stop() -> Deferred[None]:
        nonlocal stopped
        stopped = True
        probe.stop()
        return succeed(None)

    return run_reactor(main, stop, probe.abort, reactor)


def as_object(report: ProbeReport, network: str) -> dict[str, Any]:
    """Return a report as the object that `--json` prints; its keys are public and do not change."""
    from lbcproxy.wire.messages.handshake import service_names

    node = report.node.to_dict()
    return {
        "address": node["address"],
        "network": network,
        "user_agent": node["user_agent"],
        "version": node["version"],
        "protocol_version": node["protocol_version"],
        "services": node["services"],
        "service_names": service_names(node["services"]),
        "height": node["starting_height"],
        "time_offset": node["time_offset"],
        "transport": "v1" if report.session_id is None else "v2",
        "session_id": None if report.session_id is None else report.session_id.hex(),
        "connect_ms": report.connect_ms,
        "handshake_ms": report.handshake_ms,
        **report.answers,
    }


def as_lines(shown: Mapping[str, Any]) -> list[str]:
    """Return the same object as readable lines."""
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
    if shown.get("session_id") is not None:
        rows.append(("transport", f"{shown['transport']}, session id {shown['session_id']}"))
    for name in QUESTIONS:
        if name in shown:
            rows += _answer_rows(name, shown[name])
    return [f"{name:<10}  {value}" for name, value in rows]


def _answer_rows(name: str, answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "error" in answer:
        return [(name, answer["error"])]
    if name == "ping":
        return [(name, f"{answer['ms']} ms")]
    rows = [(name, f"{answer['count']:,}")]
    rows += [(f"  {end}", answer[end]) for end in ("first", "last") if end in answer]
    each = answer.get("addresses") or answer.get("transactions") or []
    return rows + [("", value) for value in each]


def _json(shown: Mapping[str, Any]) -> str:
    from lbcproxy.text import printable_json

    return printable_json(json.dumps(shown, ensure_ascii=False))
