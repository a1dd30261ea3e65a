"""Result UIDs are hashes of what they stand for: other content never stands under an old UID."""

import hashlib

# Begins every hash, so that a UID of ours is no hash that somebody else makes of the same text.
_PREFIX = "firstread/uid/1"


def uid_from(*parts: str) -> str:
    """Return ``2.25.`` and the first 16 bytes of a SHA-256 over the parts as a decimal number.

    At most 44 characters (PS3.5 B.2, a UUID-derived UID; the version bits of a UUID are not set,
    the value is a hash). Parts are length-prefixed: ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    digest = hashlib.sha256(_PREFIX.encode())
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"
