"""The process that brings the demonstration: ``python -m serving.service.demonstration_process``.

It is a sender like any other: it has a site, a token, and the service's address. Its token ends
with it. A database that holds studies already is left alone.
"""

import argparse
import logging
import sys
import time

from sqlalchemy import Engine, select

from firstread.errors import FirstreadError
from serving.accounts.demonstration import SITE
from serving.accounts.sites import find_site
from serving.accounts.tokens import issue_token, revoke_token
from serving.database.engine import open_engine, reading, writing
from serving.database.tables import studies
from serving.service import logs
from serving.service.demonstration import STUDIES, send_studies
from serving.service.processes import die_with
from serving.settings import Settings, read_settings

# By name: this module runs as __main__.
log = logging.getLogger("serving.service.demonstration_process")


def main() -> None:
    """Send the studies, then end."""
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
        raise SystemExit(error.exit_code) from error
    finally:
        database.dispose()


def bring(database: Engine, settings: Settings, url: str) -> None:
    """Send the demonstration studies to a service whose database holds none."""
    with reading(database) as connection:
        if connection.execute(select(studies.c.id).limit(1)).one_or_none() is not None:
            return
    with writing(database) as connection:
        site = find_site(connection, SITE)
        token_id, secret = issue_token(
            connection, site_id=site.id, label="demonstration", now=time.time()
        )
    try:
        folder = settings.data / "demonstration"
        for number, delivered in enumerate(send_studies(url, secret, folder), start=1):
            log.info(
                "demonstration study sent",
                extra={"study": number, "of": len(STUDIES), "instances": delivered.stored},
            )
            sys.stdout.write(f"  {number} of {len(STUDIES)} studies sent\n")
            sys.stdout.flush()
    finally:
        with writing(database) as connection:
            revoke_token(connection, token_id, time.time())


if __name__ == "__main__":
    main()
