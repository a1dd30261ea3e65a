"""Who asks, and what that lets it do.

============ ==== ==== ===== ==========  ===============================================
role         send read claim administer  is
============ ==== ==== ===== ==========  ===============================================
sender       yes  yes                    a hospital's radiographer or gateway
reader            yes  yes               a radiologist who reads cases
researcher                               takes de-identified data out; sees no patient
mlops                                    looks after models and machines; sees no patient
admin        yes  yes  yes   yes         who installed it
============ ==== ==== ===== ==========  ===============================================

A user is bound to one site and sees that alone, or to none and sees all. Whoever sends must be
bound to one, because a study belongs to the site that sent it. A token is a sender of its site.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    """What somebody is."""

    SENDER = "sender"
    READER = "reader"
    RESEARCHER = "researcher"
    MLOPS = "mlops"
    ADMIN = "admin"


class Right(StrEnum):
    """What somebody may do."""

    SEND = "send"
    READ = "read"
    CLAIM = "claim"
    ADMINISTER = "administer"


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.SENDER: frozenset({Right.SEND, Right.READ}),
    Role.READER: frozenset({Right.READ, Right.CLAIM}),
    Role.RESEARCHER: frozenset(),
    Role.MLOPS: frozenset(),
    Role.ADMIN: frozenset(Right),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    kind, id
        Row of ``users`` or of ``tokens``.
    name
        A user's name, or a token's label.
    site_id
        The one site that it sees; None: all.
    language, theme
        As the account says; None: as the browser asks.
    csrf_token
        What a form of its session must send along; None for a token.
    """

    kind: Literal["user", "token"]
    id: int
    name: str
    role: Role
    site_id: int | None
    language: str | None = None
    theme: str | None = None
    csrf_token: str | None = None

    def sees(self, site_id: int) -> bool:
        """Whether what belongs to this site exists for the caller."""
        return self.site_id is None or self.site_id == site_id

    def may(self, right: Right) -> bool:
        """Whether the caller has a right; to send, it must belong to a site."""
        if right is Right.SEND and self.site_id is None:
            return False
        return right in RIGHTS[self.role]
