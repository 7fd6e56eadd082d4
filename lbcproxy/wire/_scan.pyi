from lbcproxy.wire.scan import Known

def by_native(
    data: bytes | bytearray, magic: bytes, known: Known
) -> tuple[list[str], list[int]]: ...
