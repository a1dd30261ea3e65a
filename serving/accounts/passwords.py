"""Passwords: argon2id, the same work for a name that nobody has, and made ones.

The cost is OWASP's second choice for argon2id with one more pass: 19 MiB and 3 passes, about 40 ms
of one core. Whoever calls these functions from a service bounds how many run at once: a flood of
log-ins must take neither its memory nor its cores.
"""

import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from firstread.errors import UsageError

HASHER = PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)
# Of a random password that nobody knows, made with HASHER: what an unknown name is compared to.
NOBODY = (
    "$argon2id$v=19$m=19456,t=3,p=1$mOy+71cVsBGOKPuxc7LjTA"
    "$BUX76UxJCwSBKwiKm9dakV+BQQIWl1+EoQGttOpv+YI"
)

LEAST_CHARACTERS = 12
MOST_CHARACTERS = 256
LEAST_DIFFERENT = 5
# Without letters and digits that are mistaken for each other; 32, so 5 bits each.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def make_password() -> str:
    """Return a random password of 100 bits that can be read out on the telephone."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


def hash_password(password: str, hasher: PasswordHasher = HASHER) -> str:
    """Return what is stored of a password.

    Raises
    ------
    UsageError
        ``usage``: too short, too long, or of too few different characters.
    """
    password = _normal(password)
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise UsageError(
            f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters",
            advice="a few words that do not belong together are good",
        )
    if len(set(password)) < LEAST_DIFFERENT:
        raise UsageError(f"a password has at least {LEAST_DIFFERENT} different characters")
    return hasher.hash(password)


def is_right(password: str, password_hash: str | None, hasher: PasswordHasher = HASHER) -> bool:
    """Whether a password is the one that was stored.

    Parameters
    ----------
    password_hash
        None where nobody has the name: the work is the same, the answer is no.
    """
    # What is too long is no password of ours, and must not be worked on at length.
    password = _normal(password[: MOST_CHARACTERS + 1])
    try:
        hasher.verify(password_hash or NOBODY, password)
    except VerifyMismatchError:
        return False
    return password_hash is not None and len(password) <= MOST_CHARACTERS


def is_outdated(password_hash: str, hasher: PasswordHasher = HASHER) -> bool:
    """Whether a stored hash was made with another cost than today's."""
    return hasher.check_needs_rehash(password_hash)


def _normal(password: str) -> str:
    # Full-width digits of a Chinese keyboard are the digits. What is no character is none.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace").decode()
