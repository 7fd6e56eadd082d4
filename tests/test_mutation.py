"""The sampler of `script/mutate`: what it changes, and what it leaves alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import batches, nearest_tests
from tests.mutation_changes import Equivalent, Source, read_equivalents, sample
from tests.mutation_workshop import ROOT

CODE = '''"""A docstring with 1 number."""

__all__ = ["f"]
_CACHE_SIZE = 5


class A(Base, frozen=True):
    __slots__ = ("x",)

    def __repr__(self):
        return "x"

    def f(self, x: int = 3) -> bool:
        """Return whether x is small: 5."""
        assert x > 0
        self._log.info("x", x=x + 1)
        if x < 4 and not x:
            return f"{x + 1}" == "2"
        return g(x - 1)
'''


def source(tmp_path: Path) -> Source:
    """Return the code above as a module."""
    (tmp_path / "module.py").write_text(CODE)
    return Source(Path("module.py"), tmp_path)


def test_what_runs_is_changed(tmp_path):
    """Defaults, conditions, operators, results: one at a time."""
    changes = source(tmp_path).changes()
    for each in changes:
        ast.parse(source(tmp_path).with_change(each))
    assert sorted(each.change for each in changes) == sorted(
        [
            "3 -> 4",
            "x < 4 and not x -> not (x < 4 and (not x))",
            "x < 4 and not x -> x < 4 or not x",
            "x < 4 -> x <= 4",
            "4 -> 5",
            "not x -> x",
            'return f"{x + 1}" == "2" -> return None',
            """f"{x + 1}" == "2" -> f'{x + 1}' != '2'""",
            "return g(x - 1) -> return None",
            "x - 1 -> x + 1",
            "1 -> 2",
        ]
    )


@pytest.mark.parametrize(
    ("test", "other"),
    [("not x", "x"), ("x is None", "x is not None"), ("x in y", "x not in y"), ("x", "not x")],
)
def test_a_condition_is_turned_round_once(tmp_path, test, other):
    """Two names of one change would count it twice."""
    (tmp_path / "module.py").write_text(f"if {test}:\n    x = y\n")
    changes = Source(Path("module.py"), tmp_path).changes()
    assert [each.change for each in changes] == [f"{test} -> {other}"]


def test_a_shift_by_nothing_is_the_same_both_ways(tmp_path):
    """Bits of flags are written so."""
    (tmp_path / "module.py").write_text("x = 1 << 0\ny = 1 << 2\n")
    changes = Source(Path("module.py"), tmp_path).changes()
    assert [each.change for each in changes if "<<" in each.old] == ["1 << 2 -> 1 >> 2"]


def test_a_sample_stays_the_same_where_other_code_changes(tmp_path):
    """What has been looked at once need not be looked at again."""
    before = source(tmp_path)
    (tmp_path / "module.py").write_text("y = 3\n" + CODE)
    after = Source(Path("module.py"), tmp_path)
    drawn = [[each.key for each in sample(some.changes(), 1, 5)] for some in (before, after)]
    assert len(set(drawn[0]) & set(drawn[1])) >= 4
    assert sample(before.changes(), 1, 5) != sample(before.changes(), 2, 5)


def test_changes_that_change_nothing_are_listed_by_their_place(tmp_path):
    """The list holds wherever the lines move to."""
    (tmp_path / "wire.txt").write_text(
        "# A comment.\n\nmodule.py A.f\nif x < 4 and not x:\n4 -> 5\nBecause x\nis even.\n"
    )
    [found] = read_equivalents(tmp_path)
    line = "if x < 4 and not x:"
    assert found == Equivalent("module.py A.f", line, "4 -> 5", "Because x is even.")
    assert found.path == Path("module.py")
    assert found.key in {each.key for each in source(tmp_path).changes()}


def test_an_entry_of_that_list_needs_a_reason(tmp_path):
    """Without one, nobody can judge it."""
    (tmp_path / "wire.txt").write_text("module.py A.f\nif x:\nx -> not x\n")
    with pytest.raises(ValueError, match="reason"):
        read_equivalents(tmp_path)


def test_a_module_has_its_own_test_first():
    """Most changes are noticed by the nearest test, in the shortest time."""
    stages = nearest_tests(Path("lbcproxy/wire/framer.py"))
    assert stages[0] == [Path("tests/wire/test_framer.py")]
    assert Path("tests/wire/test_codec.py") in stages[-1]


def test_tests_that_share_a_word_come_before_the_rest(tmp_path):
    """And those of other folders do not come at all, but for the folders above."""
    for name in ("a/b/test_c", "a/test_d", "a/e/test_stream", "a/e/test_f", "g/test_h"):
        (tmp_path / "tests" / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / f"{name}.py").touch()
    assert nearest_tests(Path("lbcproxy/a/b/stream_reader.py"), tmp_path) == [
        [Path("tests/a/e/test_stream.py")],
        [Path("tests/a/b/test_c.py")],
        [Path("tests/a/test_d.py")],
    ]


def test_quick_files_are_run_together_and_before_slow_ones():
    """Most changes are noticed by one of them."""
    a, b, c, d = map(Path, "abcd")
    seconds = {"a": 9.0, "b": 0.5, "c": 0.4, "d": 0.1}
    assert list(batches([[d], [a, b, c]], seconds)) == [[d], [c, b], [a]]


@pytest.mark.slow
def test_what_noticed_a_change_is_printed():
    """The tests run on a copy, in processes of their own."""
    command = [sys.executable, "-m", "tests.mutation", "lbcproxy/session/direction.py"]
    done = subprocess.run(
        [*command, "--count", "2", "--jobs", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert sum(": noticed by tests/session/test_direction.py::" in line for line in lines) == 2
    assert "seed 1: 2 of 2 changes noticed (100%); 0 more change nothing" in lines
