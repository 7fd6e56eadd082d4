from typing import Any

from lbcproxy.wire.record import Layout, Record

class Plain:
    def __init__(self, layout: Layout) -> None: ...
    def __call__(self, record: Record) -> dict[str, Any]: ...
