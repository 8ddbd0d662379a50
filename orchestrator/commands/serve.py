"""`claw-orchestrator serve`: answer devices over TLS 1.3, until stopped; what is under way is answered first."""

import argparse
import json
import logging
import resource
import sys
from typing import Any

import uvicorn

from orchestrator.app import application
from orchestrator.connections import Connection
from orchestrator.errors import OrchestratorError
from orchestrator.service import Service
from orchestrator.settings import Home
from orchestrator.tls import server_context

__all__ = ["run"]

_DRAIN_S = 30
_OTHER_FILES = 100
_KNOWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def run(arguments: argparse.Namespace) -> int:
    """Serve."""
    home = Home(arguments.folder)
    _log_as_json()
    host, _, port = (arguments.listen or home.settings.listen).rpartition(":")
    context = server_context(home.certificate, home.certificate_key)
    service = Service(home.database(), home.content(), home.registrar(), home.log_key())
    _allow_files(home.settings.connections)
    config = uvicorn.Config(
        application(service, home.unsigned()),
        host=host,
        port=int(port),
        http=Connection,
        ws="none",
        limit_concurrency=home.settings.connections,
        proxy_headers=False,  # who sends them isn't to be believed: an address is whom TCP says it is
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    config.load()
    config.ssl = context
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def _allow_files(connections: int) -> None:
    """Each connection is an open file; the system allows more of them than it does at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OrchestratorError(
            f"This system allows {hard} open files to a process; {connections} connections need {wanted}.",
            hint="Raise the limit (ulimit -Hn), or lower `connections` in the configuration.",
        )
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _log_as_json() -> None:
    """A line of JSON for what happens: what and when, and no device."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told: dict[str, Any] = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "from": record.name,
            "what": record.getMessage(),
        }
        told |= {
            name: value for name, value in vars(record).items() if name not in _KNOWN and name != "color_message"
        }
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = repr(type(record.exc_info[1]).__name__)
            told["where"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
