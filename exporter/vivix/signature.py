"""The vendor's signature of a webhook delivery: HMAC-SHA256 of the raw body (the API's page on webhooks)."""

import hashlib
import hmac


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Return whether `signature` is that of the raw body with this secret, in constant time."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().encode())
