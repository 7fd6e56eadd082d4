"""Settings of the plugin, where captures are, and how it works beside other plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbcproxy.pytest_plugin.settings import MODES, file_name
from tests.pytest_plugin.projects import CHAIN, FILE, outcome

pytestmark = pytest.mark.slow

OTHER = '''
"""Has the options of pytest-recording, as it has them."""

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("recording")
    modes = ("once", "new_episodes", "none", "all", "rewrite")
    group.addoption("--record-mode", action="store", default=None, choices=modes)
    group.addoption("--block-network", action="store_true", default=False)
    group.addoption("--allowed-hosts", action="store", default=None)


@pytest.fixture(scope="session")
def record_mode(request):
    return request.config.getoption("--record-mode") or "none"
'''


@pytest.mark.parametrize("place", ["before", "behind"])
def test_options_are_shared_with_pytest_recording(project, upstream, monkeypatch, place):
    """Two plugins with the same option are an error in pytest, whichever comes first."""
    folder = project.path / "installed"
    made = folder / "other-1.dist-info"
    made.mkdir(parents=True)
    (folder / "other_plugin.py").write_text(OTHER)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (made / "entry_points.txt").write_text("[pytest11]\nother = other_plugin\n")
    path = __import__("os").environ.get("PYTHONPATH", "")
    both = (str(folder), path) if place == "before" else (path, str(folder))
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, both)))
    project.tests(CHAIN + "\ndef test_mode(record_mode):\n    assert record_mode == 'once'\n")
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run_apart("--record-mode=once", "--block-network")
    assert outcome(result) == {"passed": 2}
    assert project.captures == [FILE]


def test_a_bogus_mode_is_an_error(project):
    """On the command line, in a mark, in the configuration."""
    project.tests(CHAIN)
    result = project.run("--record-mode=sometimes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--record-mode: invalid choice: 'sometimes'*"])
    project.config(record_mode="sometimes")
    result = project.run()
    assert outcome(result) == {"errors": 1}
    result.stdout.fnmatch_lines(
        [f"*record_mode 'sometimes' is not among {', '.join(MODES)}*"],
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"netwrok": "lbry-regtest"}, "*unknown field `netwrok`*"),
        ({"network": "lbry-regtset"}, "*lbry-regtest*"),
        ({"upstream": "nowhere"}, "*'nowhere' is not HOST:PORT*"),
        ({"upstream": 7}, "*Expected `str*got `int` - at `$.upstream`*"),
        ({"unknown": "shrug"}, "*unknown 'shrug' is not among fail, silence, notfound*"),
    ],
)
def test_a_wrong_setting_is_named(project, settings, words):
    """A word that is not known is never passed over."""
    project.tests(CHAIN)
    project.config(**settings)
    result = project.run()
    assert outcome(result) == {"errors": 1}
    result.stdout.fnmatch_lines([f"lbcproxy: {words}"])


def test_what_is_said_closer_goes_before(project, upstream):
    """The fixture, then the module's mark, the class's, the test's."""
    project.tests(
        """
        pytestmark = pytest.mark.capture(unknown="silence", strict=True)

        @pytest.mark.capture(network="lbry-regtest")
        class TestIt:
            @pytest.mark.capture("captures/sync.pcap", strict=False)
            def test_it(self, replayed_node, make_scripted_peer):
                settings = replayed_node._settings
                assert settings.unknown == "silence"
                assert not settings.strict
                assert settings.network == "lbry-regtest"
                assert settings.timeout == 3
        """
    )
    project.config(timeout=3, unknown="notfound", network="bitcoin-regtest")
    assert outcome(project.run()) == {"passed": 1}


def test_captures_are_beside_the_test(project, upstream):
    """By module, class, test and parameters; names that no file can have are made safe."""
    folder = project.path / "deep"
    folder.mkdir()
    project.tests(
        """
        class TestThem:
            @pytest.mark.parametrize("what", ["a/b", "a:b", "ab"])
            def test_chain(self, recorded_node, what):
                lightclient.fetch_chain(*recorded_node.address)
        """,
        "deep/test_names",
    )
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.run("--record-mode=once", "--import-mode=importlib").assert_outcomes(passed=3)
    names = [Path(each).name for each in project.captures]
    assert all(each.startswith("deep/captures/test_names/") for each in project.captures)
    assert "TestThem.test_chain[ab].pcapng" in names
    assert len({name.rpartition("-")[0] for name in names if "a-b" in name}) == 1
    assert len(names) == 3


def test_no_two_tests_have_the_same_file():
    """Whatever their parameters are."""
    tests = ["t[a/b]", "t[a:b]", "t[a-b]", "t[" + "x" * 300 + "1]", "t[" + "x" * 300 + "2]"]
    names = [file_name(each) for each in tests]
    assert len(set(names)) == len(tests)
    assert all(len(name) < 200 and "/" not in name for name in names)
    assert file_name("test_plain[1-two]") == "test_plain[1-two]"


def test_a_mark_names_one_file(project):
    """A second one would never be looked at."""
    project.tests(CHAIN.replace("capture", 'capture("a.pcapng", "b.pcapng")'))
    result = project.run()
    assert outcome(result) == {"errors": 1}
    result.stdout.fnmatch_lines(["lbcproxy: mark capture takes one file, and not 2"])


def test_only_pcapng_is_recorded(project, upstream):
    """Everything that can be read is played."""
    project.tests(CHAIN.replace("capture", 'capture("a.pcap")'))
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run("--record-mode=once")
    result.stdout.fnmatch_lines(["lbcproxy: cannot record a.pcap: the name must end in .pcapng"])


def test_a_capture_that_cannot_be_played_is_an_error(project):
    """In the words of the command line."""
    (project.path / "a.pcapng").write_bytes(b"nothing of the kind")
    project.tests(CHAIN.replace("capture", 'capture("a.pcapng")'))
    result = project.run()
    assert outcome(result) == {"errors": 1}
    result.stdout.fnmatch_lines(["lbcproxy: *a.pcapng*"])


def test_one_session_may_be_chosen(project, upstream):
    """Of several in one capture."""
    project.config(network="lbry-regtest", upstream=upstream.address)
    project.tests(
        """
        @pytest.mark.capture("two.pcapng")
        def test_record(recorded_node):
            lightclient.fetch_chain(*recorded_node.address)
            chain = lightclient.fetch_chain(*recorded_node.address)
            lightclient.fetch_block(*recorded_node.address, chain[0].hash)

        @pytest.mark.capture("two.pcapng", session=2)
        def test_second(replayed_node):
            assert len(lightclient.fetch_chain(*replayed_node.address)) == 306

        @pytest.mark.capture("two.pcapng", session=9)
        def test_none(replayed_node):
            pass
        """
    )
    result = project.run("--record-mode=once")
    assert outcome(result) == {"passed": 2, "errors": 1}
    result.stdout.fnmatch_lines(["lbcproxy: *session 9 is not there*"])


def test_anyone_who_uses_nothing_of_it_imports_nothing_of_it(project):
    """A suite without captures is as fast as before."""
    project.tests(
        """
        import sys

        def test_it():
            ours = sorted(name for name in sys.modules if name.startswith("lbcproxy"))
            assert ours == ["lbcproxy", "lbcproxy.pytest_plugin"]
            assert "twisted" not in sys.modules
            assert "construct" not in sys.modules
        """
    )
    assert outcome(project.run_apart()) == {"passed": 1}


def test_the_mark_is_known(project):
    """`--strict-markers` is content, and `--markers` explains it."""
    project.tests("@pytest.mark.capture('x')\ndef test_it():\n    pass\n")
    assert outcome(project.run("--strict-markers")) == {"passed": 1}
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.capture(file, [*][*]settings): *"])
