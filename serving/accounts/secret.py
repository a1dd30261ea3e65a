"""Random secrets of cookies, forms and tokens: given out once, stored as their SHA-256.

A plain hash is enough: there are 256 random bits to guess, unlike in a password.
"""

import hashlib
import secrets


def make_secret() -> str:
    """Return 256 random bits in 43 characters that fit a cookie and a header."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is stored of a secret; any text can be asked for."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
