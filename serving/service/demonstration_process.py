"""The process that brings the demonstration: ``python -m serving.service.demonstration_process``.

It is a sender like any other: it has a site, a token, and the service's address. Its token ends
with it. It sends what is not there yet, so one that was stopped is finished at the next start; a
database with other hospitals' studies is left alone.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

from sqlalchemy import Engine

from firstread.errors import FirstreadError
from serving.accounts.demonstration import LABEL, SITE, revoke_demonstration_tokens
from serving.accounts.sites import find_site
from serving.accounts.tokens import issue_token
from serving.archive.index import Filters, find_instances, has_studies_of_others
from serving.database.engine import open_engine, reading, writing
from serving.sending.deliver import deliver, open_client
from serving.sending.outgoing import find_outgoing
from serving.service import logs
from serving.service.demonstration import STUDIES, make_study
from serving.service.processes import die_with
from serving.settings import Settings, read_settings

# By name: this module runs as __main__.
log = logging.getLogger("serving.service.demonstration_process")


def main() -> None:
    """Send the studies, then end."""
    signal.signal(signal.SIGTERM, _leave)
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    die_with(asked.parent)
    settings = read_settings()
    logs.set_up("demonstration", settings.log)
    database = open_engine(settings.database_url)
    try:
        bring(database, settings, asked.url)
    except FirstreadError as error:
        log.error("not brought", extra={"error": error.code, "reason": error.message})
        _tell(f"  not all were sent: {error.message}; the next start sends the others")
        raise SystemExit(error.exit_code) from error
    finally:
        database.dispose()


def bring(database: Engine, settings: Settings, url: str) -> None:
    """Send the demonstration studies that a service does not have.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: the service at ``url`` does not answer.
    NotDelivered
        ``not-delivered``: it does not take the studies.
    """
    folder = settings.data / "demonstration"
    with reading(database) as connection:
        site = find_site(connection, SITE)
        has_others = has_studies_of_others(connection, site.id)
    absent = [one for one in STUDIES if not _is_there(database, site.id, folder / one.folder)]
    if not absent:
        log.info("demonstration is there")
        return
    if has_others:
        _tell("the synthetic studies are not sent: there are studies of other hospitals")
        return
    _tell(f"{len(absent)} synthetic studies come one after the other:")
    with _a_token(database, site.id) as token, open_client(url, token) as client:
        for number, study in enumerate(absent, start=1):
            with find_outgoing(
                [make_study(study, folder, datetime.now().astimezone().date())]
            ) as outgoing:
                (delivered,) = deliver(client, outgoing.studies)
            log.info(
                "demonstration study sent",
                extra={"study": number, "of": len(absent), "instances": delivered.stored},
            )
            _tell(
                f"  {number} of {len(absent)}: {delivered.stored} of {delivered.files} images sent"
            )


def _is_there(database: Engine, site_id: int, place: Path) -> bool:
    """Whether the service has every image of a study that was made."""
    if not place.exists():
        return False
    with find_outgoing([place]) as outgoing:
        uids = [file.sop_instance_uid for study in outgoing.studies for file in study.files]
    with reading(database) as connection:
        found = find_instances(connection, site_id, Filters(sop_instance_uids=uids))
    return len(found) == len(uids)


@contextmanager
def _a_token(database: Engine, site_id: int) -> Iterator[str]:
    """Give a token that is worth nothing afterwards."""
    with writing(database) as connection:
        _, secret = issue_token(connection, site_id=site_id, label=LABEL, now=time.time())
    try:
        yield secret
    finally:
        revoke_demonstration_tokens(database, time.time())


def _leave(number: int, _frame: FrameType | None) -> None:
    # As an exception, so that the token is revoked on the way; a second signal breaks nothing off.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
