"""The parts of a summary as JSON objects; their keys are public."""

from __future__ import annotations

from typing import TypeAlias

from lbcproxy.capture.packet import Statistics
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.errors import CaptureError
from lbcproxy.session import Lost, NodeStatistics
from lbcproxy.text import iso_time

__all__ = [
    "JsonObject",
    "counters_object",
    "damage_object",
    "loss_object",
    "session_object",
    "user_agent_text",
]

JsonObject: TypeAlias = dict[str, object]


def session_object(report: SessionReport) -> JsonObject:
    """Return the report on a session; it says nothing of transports if both legs are v1."""
    shown: JsonObject = {
        "number": report.number,
        "network": report.network,
        "client": str(report.client),
        "server": str(report.server),
        "upstream": report.upstream,
        "begun": report.begun,
        "begin": iso_time(report.begun_ns),
        "end": iso_time(report.ended_ns),
        "seconds": (report.ended_ns - report.begun_ns) / 1e9,
        "how": report.how,
        "why": report.end.to_dict(),
        "missing": report.missing,
        "protocol_version": report.to_upstream.protocol_version,
        "to_upstream": _node_object(report.to_upstream),
        "to_client": _node_object(report.to_client),
    }
    if report.transports:
        shown["transports"] = report.transports.to_dict()
    return shown


def _node_object(node: NodeStatistics) -> JsonObject:
    """Return what one node of a session sent."""
    return {
        "stage": node.stage.value,
        "user_agent": None if node.user_agent is None else user_agent_text(node.user_agent),
        "version": node.version,
        "services": node.services,
        "height": node.start_height,
        "messages": node.messages,
        "bytes": node.bytes,
        "junk": node.junk_bytes,
    }


def loss_object(lost: Lost, time_ns: int) -> JsonObject:
    """Return a loss that the capture states."""
    return {
        "time": iso_time(time_ns) if time_ns else None,
        "messages": lost.messages,
        "bytes": lost.size,
        "packets": lost.packets,
        "what": lost.description,
        "why": lost.why,
    }


def counters_object(found: Statistics) -> JsonObject:
    """Return the counters of an interface."""
    return {
        "interface": found.interface,
        "received": found.received,
        "dropped": found.dropped,
        "accepted": found.accepted,
        "dropped_by_system": found.dropped_by_system,
        "delivered": found.delivered,
    }


def damage_object(error: CaptureError) -> JsonObject:
    """Return where and how a file is damaged."""
    return {"what": error.what, "offset": error.offset}


def user_agent_text(user_agent: bytes) -> str:
    """Return a user agent as text, whatever its bytes are."""
    return user_agent.decode(errors="backslashreplace")
