"""docs/testing.md: its examples run, its tables are whole."""

from __future__ import annotations

import re

import pytest

from lbcproxy.pytest_plugin.peer import ScriptedPeer
from lbcproxy.pytest_plugin.settings import MODES, UNKNOWN, Settings
from tests.pytest_plugin.projects import outcome
from tests.wheels import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "testing.md").read_text()


def test_the_examples_run(project, upstream):
    """Unchanged, except for the port of the real node."""
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(examples) == 5
    for number, example in enumerate(examples):
        name = "conftest" if "def lbcproxy_config" in example else f"test_{number}"
        source = example.replace("127.0.0.1:29246", upstream.address)
        (project.path / f"{name}.py").write_text(source)
    assert outcome(project.run_apart("--record-mode=once")) == {"passed": 4}
    assert outcome(project.run_apart("--block-network")) == {"passed": 4}


def test_every_setting_is_explained():
    """With its default."""
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (?:`(.*)`)? ?\|$", PAGE, re.M))
    for name in Settings.__struct_fields__:
        default = getattr(Settings(), name)
        assert rows[name] == ("" if default is None else repr(default).replace("'", '"')), name


def test_every_mode_and_answer_is_explained():
    """No value is undocumented."""
    for word in (*MODES, *UNKNOWN):
        assert f"`{word}`" in PAGE


def test_everything_that_a_scripted_peer_can_do_is_explained():
    """Whoever writes a script looks there."""
    own = {"problem", "details", "finish"}  # what the plugin asks for
    for name in set(vars(ScriptedPeer)) - own:
        if not name.startswith("_"):
            assert re.search(rf"`{name}\b", PAGE), name


def test_the_failure_is_that_of_the_example():
    """It is compared with what is printed in tests/test_example.py."""
    [shown] = re.findall(r"```\n(-+ lbcproxy -+\n.*?)```", PAGE, re.S)
    assert shown in (ROOT / "examples" / "light-client" / "README.md").read_text()
