"""Conversion between a generation and its row."""

from sys import intern
from typing import Any

from sqlalchemy import Row

from exporter.domain.values import (
    AccountName,
    Drop,
    DropReason,
    End,
    Generation,
    GenerationId,
    Source,
    Status,
    Via,
)


def to_new_row(generation: Generation) -> dict[str, object]:
    """Return the columns of a generation of which nothing is known yet but that it exists; the others are
    empty. Most rows that are entered at once are of these."""
    return {
        "account": generation.account,
        "id": generation.id,
        "source": generation.source.value,
        "discovered_us": generation.discovered_us,
        "traceparent": generation.traceparent,
        "polls": 0,
    }


def to_row(generation: Generation) -> dict[str, object]:
    """Return the columns of `generation`, without those that say where it is listed."""
    end, drop = generation.end, generation.drop
    return {
        "account": generation.account,
        "id": generation.id,
        "source": generation.source.value,
        "discovered_us": generation.discovered_us,
        "traceparent": generation.traceparent,
        "status": generation.status.value if generation.status else None,
        "model": generation.model,
        "created_us": generation.created_us,
        "credits_estimate_micro": generation.credits_estimate_micro,
        "observed_us": generation.observed_us,
        "pending_us": generation.pending_us,
        "processing_us": generation.processing_us,
        "processing_uncertainty_us": generation.processing_uncertainty_us,
        "polls": generation.polls,
        "closed_us": end.recorded_us if end else drop.at_us if drop else None,
        "drop_reason": drop.reason.value if drop else None,
        "drop_us": drop.at_us if drop else None,
        "reopened_us": generation.reopened_us,
        "end_us": end.at_us if end else None,
        "end_recorded_us": end.recorded_us if end else None,
        "end_via": end.via.value if end else None,
        "end_duration_us": end.duration_us if end else None,
        "end_credits_used_micro": end.credits_used_micro if end else None,
        "end_outputs": end.outputs if end else None,
        "end_reason": end.reason if end else None,
        "end_message": end.message if end else None,
    }


def from_row(row: Row[Any]) -> Generation:
    """Return the generation of a row."""
    status = Status(row.status) if row.status else None
    end = None
    if row.end_recorded_us is not None and status is not None:
        end = End(
            status=status,
            at_us=row.end_us,
            recorded_us=row.end_recorded_us,
            via=Via(row.end_via),
            duration_us=row.end_duration_us,
            credits_used_micro=row.end_credits_used_micro,
            outputs=row.end_outputs,
            reason=row.end_reason,
            message=row.end_message,
        )
    return Generation(
        # Many rows have the same few names, each of which the driver makes anew for every row.
        account=AccountName(intern(row.account)),
        id=GenerationId(row.id),
        source=Source(row.source),
        discovered_us=row.discovered_us,
        status=status,
        model=row.model and intern(row.model),
        created_us=row.created_us,
        credits_estimate_micro=row.credits_estimate_micro,
        observed_us=row.observed_us,
        pending_us=row.pending_us,
        processing_us=row.processing_us,
        processing_uncertainty_us=row.processing_uncertainty_us,
        polls=row.polls,
        traceparent=row.traceparent,
        end=end,
        drop=Drop(DropReason(row.drop_reason), row.drop_us) if row.drop_reason else None,
        reopened_us=row.reopened_us,
    )
