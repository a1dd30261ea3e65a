"""The web process: ``python -m serving.service.web_process --socket FD --parent PID``."""

import argparse
import logging
import resource
import socket
import sys

import uvicorn
from fastapi import FastAPI

from firstread.errors import FirstreadError
from serving.http.protocol import DeadlineH11Protocol
from serving.service import logs
from serving.service.app import create_app
from serving.service.processes import die_with
from serving.settings import read_settings

log = logging.getLogger(__name__)

# Asked to end, requests have so long to come to theirs; streams of pages are cut then.
GRACE_S = 5
# Each page that is open holds a connection.
MOST_FILES = 65_536


class Server(uvicorn.Server):
    """Ends the streams of open pages when it is asked to end; they would hold it until the end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let pages go, they come back by themselves; then end what is left."""
        application = self.config.app
        assert isinstance(application, FastAPI)
        application.state.service.hub.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serve on the socket that the parent holds: while we start anew, callers wait in it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    die_with(asked.parent)
    settings = read_settings()
    logs.set_up("web", settings.log)
    _allow_many_files()
    try:
        app = create_app(settings)
    except FirstreadError as error:
        log.error("web cannot serve", extra={"error": error.code, "reason": error.message})
        sys.exit(error.exit_code)
    config = uvicorn.Config(
        app,
        http=DeadlineH11Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        # It would write addresses, and so UIDs; ours writes route templates.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    Server(config).run(sockets=[socket.socket(fileno=asked.socket)])


def _allow_many_files() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
