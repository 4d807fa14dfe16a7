"""Which key opens which account, now: keys are created, rotated and revoked while the API runs."""


class KeyRing:
    """The keys of all accounts. A revoked key is remembered, since the API tells it from an unknown one."""

    def __init__(self) -> None:
        self._accounts: dict[str, str] = {}
        self._revoked: set[str] = set()

    def add(self, account: str, key: str) -> None:
        """Let `key` open `account`, beside those that do already; ValueError where it opens another one."""
        if self._accounts.get(key, account) != account:
            raise ValueError(f"the key of account {account} is the key of {self._accounts[key]} already")
        self._accounts[key] = account
        self._revoked.discard(key)

    def revoke(self, key: str) -> None:
        """From now on `key` gets 401."""
        if self._accounts.pop(key, None) is not None:
            self._revoked.add(key)

    def account_of(self, key: str) -> str | None:
        """The account that `key` opens."""
        return self._accounts.get(key)

    def revoked(self, key: str) -> bool:
        """Whether `key` once opened an account."""
        return key in self._revoked

    def of_account(self, account: str) -> list[str]:
        """The keys that open `account`, oldest first."""
        return [key for key, owner in self._accounts.items() if owner == account]
