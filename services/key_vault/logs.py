"""One JSON object a line on standard output, which is how the heads of the audit log leave the instance."""

import json
import logging
from datetime import UTC, datetime

from services.key_vault.audit import HEAD_MARK, Head, timestamp

_AUDIT = logging.getLogger("key_vault.audit")
_EVENTS = logging.getLogger("key_vault")


class JsonFormatter(logging.Formatter):
    """A record as JSON. A traceback keeps its frames and the error's type; the error's words may quote what was sent, and stay out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            frames = []
            trace = record.exc_info[2]
            while trace is not None:
                frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
                trace = trace.tb_next
            line["error"] = f"{record.exc_info[0].__module__}.{record.exc_info[0].__qualname__} at {' '.join(frames[-8:])}"
        return json.dumps(line)


def publish(head: Head) -> None:
    """Say which entry is the newest, so that whoever keeps the logs can prove later that none was cut off."""
    _AUDIT.info("%s %s", HEAD_MARK, head)


def event(text: str) -> None:
    """Say that something happened. No secret and nothing that was sent belongs in it."""
    _EVENTS.warning("%s", text)
