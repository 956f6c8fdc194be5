"""Log lines as JSON objects, one a line. What is logged names files by their SHA-256 and never holds any of their content."""

import json
import logging
import sys
import time


class JsonLines(logging.Formatter):
    """Time, level and message, and what a call has added by `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as a line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z"
        line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Write all log lines to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # It logs malformed requests and quotes them: that might be a piece of a file.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
