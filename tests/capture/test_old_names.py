"""Old names of lbcproxy.capture work for one release, with a warning that names the new one."""

import pytest

from lbcproxy import capture

OLD = {
    "BadPattern": "FilenamePatternError",
    "Keeping": "RetentionPolicy",
    "MOST_PEERS": "MAX_PEERS",
    "MOST_WAITING": "MAX_QUEUED",
    "Tidier": "Retention",
    "is_of": "involves_host",
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_name_is_the_new_one_and_warns(old):
    """Whoever imports it learns what to write instead."""
    with pytest.warns(DeprecationWarning, match=f"is now {OLD[old]}"):
        assert getattr(capture, old) is getattr(capture, OLD[old])
