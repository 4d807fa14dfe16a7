import pytest

from exporter.simulator.keys import KeyRing


def test_two_keys_open_one_account_while_a_rotation_is_under_way() -> None:
    keys = KeyRing()
    keys.add("studio", "old")
    keys.add("studio", "new")
    assert (keys.account_of("old"), keys.account_of("new")) == ("studio", "studio")


def test_a_revoked_key_is_told_from_an_unknown_one() -> None:
    keys = KeyRing()
    keys.add("studio", "old")
    keys.revoke("old")
    keys.revoke("never there")
    assert keys.account_of("old") is None
    assert keys.revoked("old")
    assert not keys.revoked("never there")


def test_a_key_cannot_open_two_accounts() -> None:
    keys = KeyRing()
    keys.add("studio", "key")
    with pytest.raises(ValueError, match="studio already"):
        keys.add("atelier", "key")
