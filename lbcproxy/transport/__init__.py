"""How a leg carries messages: v1 frames, or the encrypted packets of BIP324 (v2).

Nothing here does I/O. `v2.V2Transport` is one side of an encrypted connection; `detection` tells
from the first bytes which transport a client speaks. Above this package a message is a v1 frame,
whatever carried it.
"""
