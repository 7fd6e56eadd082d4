"""The settings of a plugin: its annotated attributes."""

from typing import Annotated, ClassVar

import pytest
from msgspec import Meta

from lbcproxy.plugin import Plugin
from lbcproxy.plugins.api import NO_DEFAULT, BadSetting, make, settings_of


class Tried(Plugin):
    """Has settings, and other attributes."""

    count: Annotated[int, Meta(ge=1)] = 2
    name: str
    shared: ClassVar[int] = 3
    _private: int = 4
    plain = 5


class Without(Plugin):
    """Has none."""


def test_settings_are_annotated_attributes_that_are_public():
    """With their types and defaults; NO_DEFAULT for those that must be given."""
    found = {name: (hint, default) for name, hint, default in settings_of(Tried)}
    assert found == {
        "count": (Annotated[int, Meta(ge=1)], 2),
        "name": (str, NO_DEFAULT),
    }
    assert list(settings_of(Without)) == []


def test_a_plugin_is_made_with_its_settings():
    """Strings are converted; what is not given has its default."""
    made = make(Tried, {"name": "x", "count": "7"})
    assert isinstance(made, Tried)
    assert (made.name, made.count) == ("x", 7)
    made = make(Tried, {"name": "y"})
    assert (made.name, made.count, Tried.count) == ("y", 2, 2)
    assert isinstance(make(Without, {}), Without)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (Tried, {}, "Tried needs the setting 'name'"),
        (Tried, {"name": "x", "shared": 1}, "Tried has no setting 'shared': count, name"),
        (Tried, {"name": "x", "_private": 1}, "Tried has no setting '_private'"),
        (Tried, {"name": "x", "count": 0}, r"Tried\.count: Expected `int` >= 1"),
        (Tried, {"name": 1}, r"Tried\.name: Expected `str`, got `int`"),
        (Without, {"name": "x"}, "Without has no setting 'name': it has none"),
    ],
)
def test_a_wrong_setting_is_named(kind, values, words):
    """With those that there are."""
    with pytest.raises(BadSetting, match=words):
        make(kind, values)
