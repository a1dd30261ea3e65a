"""``firstread train``: from a configuration to a package."""


def train() -> None:
    """Train."""
