"""The vectors, read from their files."""

import functools
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "vectors"


@functools.cache
def load(name: str) -> list[dict[str, Any]]:
    """Return the vectors of `vectors` or `bad_vectors`."""
    return json.loads((FOLDER / f"{name}.json").read_text())["vectors"]


def payload_of(vector: dict[str, Any]) -> bytes:
    """Return a vector's payload."""
    if "payload_hex" in vector:
        return bytes.fromhex(vector["payload_hex"])
    return b"".join(bytes.fromhex(text) * repeat for text, repeat in vector["payload_rle"])


def without_people(fields: Any) -> Any:
    """Leave out what is written for people and not to be compared."""
    if isinstance(fields, dict):
        return {
            key: without_people(value) for key, value in fields.items() if key not in ("ip", "addr")
        }
    if isinstance(fields, list):
        return [without_people(each) for each in fields]
    return fields
