"""What tshark with our dissector shows, and what `lbcproxy show -T ndjson` prints, side by side.

Both are turned into the same: by path, all values of a message in order, and of each list how many
entries it has. Nothing here knows a message by its name, but for what ndjson has beside the fields.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.networks import output_address
from lbcproxy.text import printable
from lbcproxy.wireshark import dissector
from tests.tools import REPOSITORY, TIMEOUT, program

Values = dict[str, list[Any]]


class Leaf(NamedTuple):
    """A value as Wireshark has it."""

    show: str
    raw: str
    """The bytes it stands for, in hexadecimal."""


class Shown(NamedTuple):
    """A message as Wireshark shows it."""

    stream: int
    source: int
    """The port it came from."""
    command: str
    length: int
    error: str | None
    verdict: str | None
    trailing: str
    values: dict[str, list[Leaf]]
    claims: list[dict[str, Any]]


def run_tshark(folder: Path, capture: Path, *arguments: str, plugin: bool = True) -> str:
    """Run tshark in a home of its own; return what it prints. No Lua error may be reported."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    command = [program("tshark", "install tshark"), "-r", str(capture)]
    if plugin:
        script = folder / "lbcproxy.lua"
        script.write_text(dissector())
        command += ["-X", f"lua_script:{script}"]
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    assert "Lua" not in done.stderr, done.stderr
    assert "Lua Error" not in done.stdout
    assert "dissector failed" not in done.stdout
    return done.stdout


def dissected(folder: Path, capture: Path, *arguments: str) -> list[Shown]:
    """Return every message that the dissector finds in a capture."""
    text = run_tshark(folder, capture, "-T", "pdml", "-J", "tcp lbry", *arguments)
    found = []
    for packet in ET.fromstring(text).iter("packet"):
        stream, source = (_first(packet, name) for name in ("tcp.stream", "tcp.srcport"))
        for message in packet.iterfind("proto[@name='lbry']"):
            if message.find("field[@name='lbry.junk']") is None:
                found.append(_shown(message, stream, source))
    return found


def _first(packet: ET.Element, name: str) -> int:
    return next(
        int(each.get("show", "")) for each in packet.iter("field") if each.get("name") == name
    )


def _shown(message: ET.Element, stream: int, source: int) -> Shown:
    own = {each.get("name"): each for each in message.iterfind("field")}

    def show(name: str) -> str | None:
        return own[name].get("show") if name in own else None

    command = show("lbry.command")
    assert command is not None
    values: dict[str, list[Leaf]] = {}
    claims: list[dict[str, Any]] = []
    body = own.get(f"lbry.{command}")
    if body is not None:
        for leaf in body.iter("field"):
            name = leaf.get("name", "")
            if ".claim." in name:
                continue  # beside the fields, as in ndjson
            if len(leaf) == 0 or name.endswith(".count"):
                values.setdefault(name, []).append(
                    Leaf(leaf.get("show", ""), leaf.get("value", ""))
                )
        claims = list(_claims(body))
    values.pop(f"lbry.{command}", None)  # a message without fields
    trailing = own.get("lbry.trailing")
    return Shown(
        stream,
        source,
        command,
        int(show("lbry.length") or 0),
        show("lbry.error"),
        show("lbry.verdict"),
        "" if trailing is None else trailing.get("value", ""),
        values,
        claims,
    )


def _claims(body: ET.Element) -> Iterator[dict[str, Any]]:
    """Return the claims in the form that ndjson has."""
    for outputs in body.iter("field"):
        if not outputs.get("name", "").endswith(".outputs.count"):
            continue
        for index, output in enumerate(outputs):
            fields = {each.get("name", "").rpartition(".")[2]: each for each in output}
            claim = fields.get("claim")
            if claim is None:
                continue
            said = {each.get("name", "").rpartition(".")[2]: each for each in claim}
            yield {
                "output": index,
                "kind": said["kind"].get("show"),
                "name": said["name"].get("show"),
                "claim_id": said["claim_id"].get("show") if "claim_id" in said else None,
                "value": said["value"].get("value", "") if "value" in said else None,
                "amount": int(fields["value"].get("show", "")),
                "address": fields["address"].get("show") if "address" in fields else None,
            }


def printed(capture: Path) -> list[dict[str, Any]]:
    """Return every message that `lbcproxy show -T ndjson` prints, junk and gaps left out."""
    command = [sys.executable, "-m", "lbcproxy", "show", "-T", "ndjson", str(capture)]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=env, timeout=TIMEOUT
    )
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    return [each for each in objects if each["command"] is not None]


def compared(folder: Path, capture: Path, *arguments: str) -> int:
    """Hold every field of every message of a capture against ndjson; return how many there are."""
    everything = ("-o", "lbry.hash_up_to:100000000", "-o", "lbry.bitcoin:TRUE", *arguments)
    ours = list(open_capture(capture))
    [network] = {each.message.codec.network.id for each in ours if each.message is not None}
    shown: dict[tuple[int, int], list[Shown]] = {}
    for each in dissected(folder, capture, *everything):
        shown.setdefault((each.stream, each.source), []).append(each)
    wanted: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for entry in printed(capture):
        wanted.setdefault((entry["session"] - 1, entry["direction"]), []).append(entry)
    # Both in order of time: streams are numbered as sessions, and who speaks first is first.
    lengths = [
        [(way[0], len(each)) for way, each in sorted_ways(found)] for found in (shown, wanted)
    ]
    assert lengths[0] == lengths[1], lengths
    trailing = {
        each.number: each.message.record.trailing.hex()
        for each in ours
        if each.message is not None and each.message.record is not None
    }
    wrong = []
    for (_, theirs), (_, entries) in zip(sorted_ways(shown), sorted_ways(wanted), strict=True):
        for one, entry in zip(theirs, entries, strict=True):
            found = differences(one, entry, network)
            if entry["number"] in trailing and trailing[entry["number"]] != one.trailing:
                found.append(f"trailing: {one.trailing}")
            wrong += [f"message {entry['number']}, {entry['command']}: {each}" for each in found]
    assert wrong == [], "\n".join([f"{len(wrong)} differences", *wrong[:100]])
    return len(trailing)


def sorted_ways(found: dict[Any, list[Any]]) -> list[tuple[Any, list[Any]]]:
    """Return the directions of all streams by stream, those of a stream as they came."""
    return sorted(found.items(), key=lambda item: item[0][0])


def differences(shown: Shown, entry: dict[str, Any], network_id: str) -> list[str]:
    """Say in what a message of Wireshark's is not the one of ndjson; empty if in nothing."""
    found = [
        f"{name}: {one!r}, not {other!r}"
        for name, one, other in (
            ("command", shown.command, printable(entry["command"])),
            ("length", shown.length, entry["length"]),
            ("error", shown.error, None if entry["error"] is None else printable(entry["error"])),
        )
        if one != other
    ]
    if entry["message"] is None:
        return found + _partial_differences(shown, entry, network_id)
    wanted = _wanted(entry, network_id)
    values = {**shown.values}
    _same_witnesses(values, wanted)
    for path in sorted(wanted.keys() | values.keys()):
        ours, theirs = wanted.get(path, []), values.get(path, [])
        if path.endswith("_hex") and path not in values:  # the bytes of the text shown
            theirs = [Leaf(each.raw, each.raw) for each in values.get(path[:-4], [])]
        elif f"{path}_hex" in values:  # made of those bytes, if it can be
            ours = [each for each in ours if each is not None]
        if len(ours) != len(theirs):
            found.append(f"{path}: {len(theirs)} values, not {len(ours)}")
            continue
        if path.endswith("_hex"):
            theirs = [Leaf(each.raw, each.raw) for each in theirs]
        wrong = [(a, b) for a, b in zip(theirs, ours, strict=True) if not _same(a, b)]
        found += [f"{path}: {a.show!r}, not {b!r}" for a, b in wrong[:3]]
    claims = [
        {**each, "name": printable(each["name"])}
        for each in entry.get("claims", ())
        if each.pop("txid")
    ]
    if entry["command"] in ("tx", "block") and claims != shown.claims:
        found.append(f"claims: {shown.claims}, not {claims}")
    return found


def _partial_differences(shown: Shown, entry: dict[str, Any], network_id: str) -> list[str]:
    """Say what of the fields before an error Wireshark does not show; it may show more."""
    if entry.get("partial") is None:
        return []
    wanted = _wanted({**entry, "message": entry["partial"]}, network_id)
    found = []
    for path, ours in wanted.items():
        if path.endswith(("_hex", ".count", ".address")):
            continue
        ours = [each for each in ours if each is not None]
        theirs = shown.values.get(path, [])
        pairs = zip(theirs, ours, strict=False)
        if len(theirs) < len(ours) or not all(_same(one, other) for one, other in pairs):
            found.append(f"partial {path}: {[each.show for each in theirs][:5]}, not {ours[:5]}")
    return found


def _wanted(entry: dict[str, Any], network_id: str) -> Values:
    wanted: Values = {}
    path = f"lbry.{entry['command']}"
    _flatten(entry["message"], path, wanted)
    # Addresses and claims are compared here and as `claims`.
    for name in [name for name in wanted if name.endswith(".outputs.script_pubkey")]:
        network = networks.get(network_id)
        scripts = map(bytes.fromhex, wanted[name])
        addresses = [output_address(script, network) for script in scripts]
        prefix = name.removesuffix("script_pubkey")
        wanted[f"{prefix}address"] = [each for each in addresses if each is not None]
    return wanted


def _flatten(value: Any, path: str, found: Values) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            if each is None and f"{name}_hex" not in value:
                continue  # absent on the wire
            if each is None and value[f"{name}_hex"] is None:
                continue
            _flatten(each, f"{path}.{name}", found)
    elif isinstance(value, list):
        found.setdefault(f"{path}.count", []).append(len(value))
        for each in value:
            _flatten(each, path, found)
    else:
        found.setdefault(path, []).append(value)


def _same_witnesses(values: dict[str, list[Leaf]], wanted: Values) -> None:
    """An empty witness is not shown where a transaction has none at all.

    Wireshark has then no count, and ndjson a zero: zeros count for nothing on both sides. How many
    items an input has is still told by the order of the others.
    """
    for path in [path for path in wanted if path.endswith(".witness.count")]:
        wanted[path] = [each for each in wanted[path] if each]
        values[path] = [each for each in values.get(path, []) if each.show != "0"]


def _same(leaf: Leaf, value: Any) -> bool:
    if value is None:
        return True  # bytes that are no text; they are compared as bytes
    if isinstance(value, bool):
        return leaf.show in (("1", "True") if value else ("0", "False"))
    if isinstance(value, int):
        return leaf.show == str(value)
    if leaf.show in (value, printable(value)):
        return True
    return leaf.show.replace(":", "") == value or bytes.fromhex(leaf.raw) == value.encode()
