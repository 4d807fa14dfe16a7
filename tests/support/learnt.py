"""What may have been learnt of a model, and its category: whatever a hazard rate must be usable after."""

import math

from hypothesis import strategies as st

DURATIONS = st.lists(
    st.one_of(st.sampled_from([0.0, 0.25, 1e-300, 1e300, math.inf]), st.floats(0, 1e5), st.floats(0, 1e300)),
    max_size=40,
)
"""Seconds, of its ends."""
CATEGORIES = st.sampled_from([None, "image", "video", "audio"])
