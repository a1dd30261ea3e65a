"""How long work tells an edge how far it is; the core knows no terminal and no web page."""

from typing import Protocol


class Progress(Protocol):
    """Called with the stage's name, the units done and their total; often, so it must be cheap."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` units of a stage are done."""


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
