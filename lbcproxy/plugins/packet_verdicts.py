"""Verdicts about encrypted packets, for faults: plugins see messages, not what carries them."""

from __future__ import annotations

from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session.leg_transport import Decoy
from lbcproxy.transport.damage import PacketDamage

__all__ = ["DamagePacket", "InjectDecoys", "NoEffect"]


class DamagePacket(Verdict):
    """Send the message in a packet that its receiver cannot decrypt.

    Args:
        damage: What is wrong with the packet.
    """

    __slots__ = ("damage",)

    damage: PacketDamage

    def __init__(self, damage: PacketDamage) -> None:
        super().__init__(damage=damage, why=str(damage))


class InjectDecoys(Verdict):
    """Let the message pass, and send packets before it that its receiver ignores.

    Args:
        decoys: The packets.
    """

    __slots__ = ("decoys",)

    decoys: tuple[Decoy, ...]

    def __init__(self, *decoys: Decoy) -> None:
        super().__init__(decoys=decoys, why="")


class NoEffect(Verdict):
    """Let the message pass, and note why nothing happened to it.

    Args:
        why: The reason.
    """

    __slots__ = ()

    def __init__(self, why: str) -> None:
        super().__init__(why=why)
