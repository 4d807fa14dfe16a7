"""What a process holds for long: garbage collections, which stop everything else, pass over it."""

import ctypes
import gc
from collections.abc import Mapping

SHARE = 0.25
"""What has outlived a full collection is passed over as well once it is so much of what already is: seldom,
since of what is passed over no cycle is found any more."""


def pass_over_what_is_here() -> None:
    """Exempt all that there is now from garbage collections, and what many generations add later: a full one
    takes 70 ms for modules and configuration alone. Memory that loading them took and freed is returned."""
    gc.collect()
    gc.freeze()
    if _pass_over_more not in gc.callbacks:
        gc.callbacks.append(_pass_over_more)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _pass_over_more(phase: str, info: Mapping[str, int]) -> None:
    if phase != "stop" or info["generation"] != 2:
        return
    if len(gc.get_objects(generation=2)) > SHARE * gc.get_freeze_count():
        gc.freeze()
