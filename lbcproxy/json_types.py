"""Types of JSON data, for everything that is printed, stored or sent as JSON."""

from typing import Any, TypeAlias

__all__ = ["JsonObject", "JsonValue"]

JsonValue: TypeAlias = Any
"""None, a bool, a number, a string, a list or an object, as `json.dumps` takes it."""
JsonObject: TypeAlias = dict[str, Any]
"""A JSON object: its values are `JsonValue`s."""
