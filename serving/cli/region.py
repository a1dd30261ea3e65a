"""``firstread region``: a made-up region with hospitals, pools and readers, to try things with."""

import time
from typing import Annotated

import typer

from serving.cli.database import DataOption, opened
from serving.cli.output import progress_bar, tell, tell_json


def region(
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same number, the same region.")],
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fill a database without hospitals with 1,205 made-up ones, 24 pools and 1,500 readers."""
    from serving.accounts.passwords import hash_password, make_password
    from serving.database.engine import writing
    from serving.settings import read_settings
    from serving.studies.region import POOLS, fill_region, plan_region
    from serving.worklist.urgency import read_policy

    made = plan_region(seed, tuple(read_policy(read_settings(data=data).urgency).tiers))
    # Of a password that is told to nobody; hashing takes its time and must not hold the one writer.
    password_hash = hash_password(make_password())
    with opened(data) as engine, progress_bar() as progress, writing(engine) as connection:
        fill_region(
            connection, made, password_hash=password_hash, now=time.time(), progress=progress
        )
    counts = {"hospitals": len(made.hospitals), "pools": POOLS, "readers": len(made.readers)}
    if as_json:
        tell_json({"seed": seed, **counts})
        return
    tell(", ".join(f"{count} {what}" for what, count in counts.items()))
