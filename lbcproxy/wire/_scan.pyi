from lbcproxy.wire.scan import CommandTable

def by_native(
    data: bytes | bytearray, magic: bytes, known: CommandTable, verify: bool = True
) -> tuple[list[str], list[int]]: ...
