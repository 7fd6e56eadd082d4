"""Old public names still work, with a warning that names the new one."""

import pytest

from lbcproxy import session, wire


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Passage", "Delivery"),
        ("SessionFacts", "SessionInfo"),
        ("Side", "NodeState"),
        ("SideStatistics", "NodeStatistics"),
    ],
)
def test_an_old_name_warns_and_is_the_new_one(old, new):
    with pytest.warns(DeprecationWarning, match=f"lbcproxy.session.{old} is now {new}"):
        assert getattr(session, old) is getattr(session, new)


def test_a_name_that_never_existed_is_an_attribute_error():
    with pytest.raises(AttributeError, match="lbcproxy.session' has no attribute 'Nothing'"):
        _ = session.Nothing


def test_the_old_name_of_the_framers_items_is_an_alias():
    with pytest.warns(DeprecationWarning, match=r"lbcproxy\.wire\.Item is now StreamItem"):
        assert wire.Item is wire.StreamItem
