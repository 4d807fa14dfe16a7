"""How an account stands is what the replica tells that owns it, and nothing where it tells other things."""

import json

import pytest

from exporter.domain.values import AccountName
from exporter.web.pages.accounts import Present, from_json, to_json

STUDIO, LAB = AccountName("studio"), AccountName("lab")
WORKS = Present(
    key_valid=True,
    up=True,
    tier="pro",
    jobs_limit=20,
    balance=12.5,
    calls_limit=120,
    calls_budget=60.0,
    stretch=1.0,
    webhooks=None,
)


def test_only_the_owner_is_believed() -> None:
    told = {"one": to_json({STUDIO: WORKS, LAB: WORKS}), "two": to_json({})}
    assert from_json({STUDIO: "one", LAB: "two"}, told) == {STUDIO: WORKS}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"one": "{}"},
        {"one": json.dumps({STUDIO: {"up": True}})},
        {"two": to_json({STUDIO: WORKS})},
    ],
    ids=["nothing", "no account", "by another version", "by another replica"],
)
def test_an_account_of_which_nothing_usable_is_told_is_left_out(told: dict[str, str]) -> None:
    assert from_json({STUDIO: "one"}, told) == {}


def test_what_a_later_version_tells_besides_is_ignored() -> None:
    later = json.loads(to_json({STUDIO: WORKS}))
    later[STUDIO]["mood"] = "calm"
    assert from_json({STUDIO: "one"}, {"one": json.dumps(later)}) == {STUDIO: WORKS}
