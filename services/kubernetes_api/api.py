"""The Kubernetes API as a pod of ours sees it, for the programs that ask it for a few things.

Plain HTTPS with the pod's service account, since the image has no Kubernetes client. Whatever may pass by itself is tried again
until the deadline: no connection, a broken or half-written answer, 408, 429 and 5xx. Nothing that the server says is repeated in
an error: an admission webhook may quote the object that it refuses.
"""

import http.client
import json
import random
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token and the API's authority."""

_REQUEST_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 10.0
_LARGEST_ANSWER = 4 * 2**20  # a Secret holds at most 1 MiB, in base64 and with its metadata


class ApiError(Exception):
    """A request that cannot be made, or was not answered before the deadline."""


class RefusedError(Exception):
    """An answer that a repetition would not change: `status` is its HTTP code."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"{what}: {status} {http.client.responses.get(status, '')}".rstrip())
        self.status = status


@frozen
class Api:
    """The Kubernetes API as a pod sees it. `deadline` is a time of `time.monotonic()`."""

    host: str
    port: int
    token_file: Path
    context: ssl.SSLContext
    deadline: float

    @classmethod
    def of_pod(cls, environment: Mapping[str, str], account: Path, deadline: float) -> "Api":
        """The API by what Kubernetes gives to each pod: two environment variables, and the folder of the service account.

        Raises ApiError when the pod has no such account.
        """
        try:
            # A TLS context that verifies the chain and the host name. Not ssl.create_default_context: from Python 3.13 on that demands
            # extensions which the certificates of older clusters do not have (github.com/tomplus/kubernetes_asyncio/issues/349).
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(account / "ca.crt")
            host, port = environment["KUBERNETES_SERVICE_HOST"], int(environment["KUBERNETES_SERVICE_PORT"])
        except (KeyError, OSError) as error:
            raise ApiError(f"not in a pod with a service account token ({type(error).__name__}: {error})") from None
        return cls(host, port, account / "token", context, deadline)

    def ask(
        self, method: str, path: str, what: str, other_answers: tuple[int, ...], content: str = "", body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The JSON of a successful answer, or None for one of `other_answers`.

        Raises RefusedError for all other answers that are final, ApiError at the deadline.
        """
        pause = 0.1
        while True:
            wait = pause
            try:
                status, retry_after, text = self._try(method, path, content, body)
                if status in other_answers:
                    return None
                if 200 <= status < 300:
                    answer: dict[str, Any] = json.loads(text)
                    return answer
                if status not in (408, 429) and status < 500:
                    raise RefusedError(status, what)
                problem = f"{status} {http.client.responses.get(status, '')}".rstrip()
                wait = max(wait, min(retry_after, _LONGEST_PAUSE_SECONDS))
            except ssl.SSLCertVerificationError as error:
                raise ApiError(f"cannot {what}: the certificate of {self.host} does not verify: {error.verify_message}") from None
            except FileNotFoundError:
                raise ApiError(f"cannot {what}: there is no service account token at {self.token_file}") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = type(error).__name__
            if time.monotonic() + wait >= self.deadline:
                raise ApiError(f"cannot {what}: no answer in time, the last try ended with {problem}")
            time.sleep(wait * random.uniform(0.5, 1.0))  # spreads the tries of two Jobs
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _try(self, method: str, path: str, content: str, body: Mapping[str, Any] | None) -> tuple[int, float, bytes]:
        timeout = min(_REQUEST_SECONDS, max(self.deadline - time.monotonic(), 0.1))
        # The kubelet renews the token on disk, so it is read for each try.
        headers = {"Authorization": f"Bearer {self.token_file.read_text().strip()}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            response = connection.getresponse()
            text = response.read(_LARGEST_ANSWER)
            retry_after = response.headers.get("Retry-After", "")
            return response.status, float(retry_after) if retry_after.isdigit() else 0.0, text
        finally:
            connection.close()
