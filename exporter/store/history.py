"""The history of a generation in words: what was reported, and what was counted for it."""

from exporter.domain.values import Discovered, Dropped, Ended, Fact, Observation, Started


def said(observation: Observation) -> str:
    """Return what the API reported, for the history of a generation."""
    parts = [observation.status_text]
    if observation.model:
        parts.append(f"model {observation.model}")
    if observation.reason:
        parts.append(f"reason {observation.reason}")
    return ", ".join(parts)


def counted(fact: Fact) -> str:
    """Return what was counted for a fact, for the history of a generation."""
    match fact:
        case Started(model, queue_us):
            return f"queue of {model}: {queue_us / 1e6:.3f} s"
        case Ended(model, end):
            took = "" if end.duration_us is None else f", {end.duration_us / 1e6:.3f} s"
            return (
                f"{end.status.value} of {model}{took}, {end.credits_used_micro / 1e6:g} credits, "
                f"{end.outputs} outputs" + (f", reason {end.reason}" if end.reason else "")
            )
        case Dropped(reason):
            return f"dropped: {reason.value}"
        case Discovered():
            return "discovered"
