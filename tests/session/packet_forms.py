"""How messages may come in encrypted packets."""

from hypothesis import strategies as st

from lbcproxy.session import PacketForm

__all__ = ["FORMS"]

FORMS = st.builds(
    PacketForm,
    is_long=st.booleans(),
    decoys=st.integers(0, 3),
    garbage=st.integers(0, 4_095),
    version_size=st.integers(0, 3),
)
