"""API keys and their accounts; keys are created, rotated and revoked while the API runs."""


class KeyRing:
    """The keys of all accounts. Revoked ones are remembered: the API distinguishes them from unknown ones."""

    def __init__(self) -> None:
        self._accounts: dict[str, str] = {}
        self._revoked: set[str] = set()

    def add(self, account: str, key: str) -> None:
        """Add a key to those of `account`. Raises ValueError where it belongs to another account."""
        if self._accounts.get(key, account) != account:
            raise ValueError(f"the key of account {account} is the key of {self._accounts[key]} already")
        self._accounts[key] = account
        self._revoked.discard(key)

    def revoke(self, key: str) -> None:
        """Revoke `key`; it gets 401 from now on."""
        if self._accounts.pop(key, None) is not None:
            self._revoked.add(key)

    def account_of(self, key: str) -> str | None:
        """Return the account of `key`, or None."""
        return self._accounts.get(key)

    def revoked(self, key: str) -> bool:
        """Return whether `key` was revoked."""
        return key in self._revoked

    def of_account(self, account: str) -> list[str]:
        """Return the valid keys of `account`, oldest first."""
        return [key for key, owner in self._accounts.items() if owner == account]
