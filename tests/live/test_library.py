"""The captures of live nodes in `captures/` can be recorded again."""

import json
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from tests.live.library import KIND, RECORDINGS, Scene

pytestmark = pytest.mark.live


def test_a_recording_holds_what_taps_saw(tmp_path: Path):
    """The light client's, by the script's own code; there is an answer to each of its questions."""
    KIND.programs()
    [(name, blocks, play, options)] = [
        each for each in RECORDINGS if each[0] == "btcd-light-client"
    ]
    scene = Scene(tmp_path, name, blocks, *options)
    try:
        play(scene)
        scene.end(tmp_path)
    finally:
        scene.close()
    client, upstream = json.loads((tmp_path / f"{name}.truth.json").read_text())
    entries = list(open_capture(tmp_path / f"{name}.pcapng"))
    assert len(entries) == len(client["messages"]) + len(upstream["messages"])
    answers = {command for command, _, _ in upstream["messages"]}
    assert {"headers", "block", "tx", "notfound", "cfilter", "merkleblock", "pong"} <= answers
