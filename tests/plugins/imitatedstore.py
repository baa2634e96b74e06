"""MinIO as moto imitates it, started as MinIO is: `imitatedstore.py server /data --address HOST:PORT`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

READY = "/minio/health/ready"


class Store:
    """S3, and MinIO's own answer to a probe."""

    def __init__(self) -> None:
        self._s3 = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == READY:
            start("200 OK", [("Content-Length", "0")])
            return []
        answer: Iterable[bytes] = self._s3(environ, start)
        return answer


def main(arguments: list[str]) -> None:
    kind, _, option, address = arguments
    if (kind, option) != ("server", "--address"):
        sys.exit(f"not how MinIO is started: {arguments}")
    host, _, port = address.rpartition(":")
    make_server(host, int(port), Store(), threaded=True).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
