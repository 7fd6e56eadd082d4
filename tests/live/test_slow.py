"""`script/slow`, ten minutes long when it is wanted, for a few seconds: so that it works then."""

import pytest

from tests.live.slow import KIND, main

pytestmark = pytest.mark.live


def test_rotated_files_hold_what_the_taps_saw(capsys):
    """Sessions come and go and end in every way; joined, the files have every byte of them."""
    KIND.programs()
    main(5, rotate=1 << 20, rate=2_000_000)
    printed = capsys.readouterr().out
    assert " sessions equal to the byte\n" in printed
    assert " sessions in more than one file\n" in printed
