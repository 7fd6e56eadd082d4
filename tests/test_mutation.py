"""The sampler of `script/mutate`: what it changes, and what it leaves alone."""

import ast
from pathlib import Path

from tests.mutation import Source, nearest_tests

CODE = '''"""A docstring with 1 number."""

__all__ = ["f"]


def f(x: int = 3) -> bool:
    """Return whether x is small: 5."""
    if x < 4 and not x:
        return f"{x + 1}" == "2"
    return g(x - 1)
'''


def changes(tmp_path) -> list[str]:
    """Return the changes of the code above, as they are shown."""
    path = tmp_path / "module.py"
    path.write_text(CODE)
    source = Source(path)
    for each in source.changes():
        ast.parse(source.with_change(each))
    return [source.describe(each).partition(": ")[2] for each in source.changes()]


def test_what_runs_is_changed(tmp_path):
    """Defaults, conditions, operators, results: one at a time."""
    assert sorted(changes(tmp_path)) == sorted(
        [
            "3  ->  4",
            "x < 4 and not x  ->  not (x < 4 and (not x))",
            "x < 4 and not x  ->  x < 4 or not x",
            "x < 4  ->  x <= 4",
            "4  ->  5",
            "not x  ->  x",
            'return f"{x + 1}" == "2"  ->  return None',
            """f"{x + 1}" == "2"  ->  f'{x + 1}' != '2'""",
            "return g(x - 1)  ->  return None",
            "x - 1  ->  x + 1",
            "1  ->  2",
        ]
    )


def test_a_module_has_its_own_test_first():
    """Most changes are noticed by the nearest test, in the shortest time."""
    assert nearest_tests(Path("lbcproxy/wire/framer.py"))[0] == "tests/wire/test_framer.py"
