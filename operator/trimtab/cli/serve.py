"""`trimtab serve`: one model in one pod."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from trimtab.errors import NotYet, Stalled, TrimtabError

EXIT_STALLED = 65  # EX_DATAERR of sysexits.h: a restart will not help
EXIT_NOT_YET = 75  # EX_TEMPFAIL: a restart may
_MESSAGE_BYTES = 4096  # what a kubelet reads


class _Seconds(click.ParamType[float]):
    """A duration as the API writes it, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from trimtab.api.quantities import seconds

        try:
            return value if isinstance(value, float) else seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(context_settings={"show_default": True})
@click.option("--model-name", required=True, envvar="TRIMTAB_SERVE_MODEL_NAME", help="Name in /v2/models/NAME.")
@click.option("--artifact-uri", required=True, envvar="TRIMTAB_SERVE_ARTIFACT_URI", help="Where the artifact is.")
@click.option(
    "--artifact-digest",
    required=True,
    envvar="TRIMTAB_SERVE_ARTIFACT_DIGEST",
    help="sha256:… of its manifest; anything else is refused.",
)
@click.option("--revision", required=True, envvar="TRIMTAB_SERVE_REVISION", help="Name in metadata and metrics.")
@click.option("--host", default="0.0.0.0", envvar="TRIMTAB_SERVE_HOST", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, envvar="TRIMTAB_SERVE_PORT", help="0: any.")
@click.option(
    "--max-batch", type=click.IntRange(1, 4096), default=16, envvar="TRIMTAB_SERVE_MAX_BATCH", help="Rows per run."
)
@click.option(
    "--max-wait",
    type=_Seconds(),
    default="0ms",
    envvar="TRIMTAB_SERVE_MAX_WAIT",
    help="How long a request may wait for company.",
)
@click.option(
    "--drain-delay",
    type=_Seconds(),
    default="2s",
    envvar="TRIMTAB_SERVE_DRAIN_DELAY",
    help="How long to go on after SIGTERM, while the gateway takes the pod out.",
)
@click.option(
    "--drain-timeout",
    type=_Seconds(),
    default="30s",
    envvar="TRIMTAB_SERVE_DRAIN_TIMEOUT",
    help="How long requests in flight may take after that.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    envvar="TRIMTAB_SERVE_THREADS",
    help="CPU threads of the engine.  [default: the CPU limit]",
)
@click.option(
    "--engine",
    type=click.Choice(["Auto", "OnnxRuntime", "OpenVino", "Torch"]),
    default="Auto",
    envvar="TRIMTAB_SERVE_ENGINE",
    help="What the artifact must be for; Auto takes any.",
)
@click.option(
    "--max-body-bytes",
    type=click.IntRange(1),
    default=64 * 1024 * 1024,
    envvar="TRIMTAB_SERVE_MAX_BODY_BYTES",
    help="Larger requests get 413. As JSON a body takes several times its size in memory.",
)
def serve(
    model_name: str,
    artifact_uri: str,
    artifact_digest: str,
    revision: str,
    host: str,
    port: int,
    max_batch: int,
    max_wait: float,
    drain_delay: float,
    drain_timeout: float,
    threads: int | None,
    engine: str,
    max_body_bytes: int,
) -> None:
    """Serve an artifact over the Open Inference Protocol.

    Exits with 0 after a drain, 65 when the artifact can never be served, 75 when it could not be fetched now; the
    reason is in the termination message.
    """
    from trimtab.api.serving import Engine
    from trimtab.cli.logs import configure
    from trimtab.workloads.serve.cpus import available_cpus
    from trimtab.workloads.serve.life import Interrupted, Settings
    from trimtab.workloads.serve.life import serve as live

    configure()
    settings = Settings(
        engine=Engine(engine),
        model=model_name,
        revision=revision,
        host=host,
        port=port,
        max_batch=max_batch,
        max_wait_s=max_wait,
        drain_delay_s=drain_delay,
        drain_timeout_s=drain_timeout,
        threads=threads or available_cpus(),
        max_body_bytes=max_body_bytes,
    )
    with tempfile.TemporaryDirectory(prefix="trimtab-serve-", ignore_cleanup_errors=True) as folder:
        try:
            _run(live(settings, lambda: _fetch(artifact_uri, artifact_digest, Path(folder)), time.perf_counter))
        except Interrupted as interrupted:
            code = 128 + interrupted.number
        except (Stalled, NotYet) as error:
            code = _report(error)
        else:
            code = 0
    sys.stderr.flush()
    # A download or a run may still be going on in a thread of C++, which aborts when the interpreter ends under it.
    os._exit(code)


def _fetch(uri: str, digest: str, into: Path) -> Path:
    from trimtab.store import open_artifact

    open_artifact(uri, digest, into)
    return into


def _run(main: Any) -> None:
    try:
        import uvloop
    except ModuleNotFoundError:  # no wheels for Windows
        asyncio.run(main)
    else:
        uvloop.run(main)


def _report(error: TrimtabError) -> int:
    """Log the error, leave it as the termination message, and return the exit code that fits."""
    import structlog

    structlog.get_logger("trimtab.serve").error("server.failed", reason=error.reason, message=error.message)
    path = Path(os.environ.get("TERMINATION_MESSAGE_PATH", "/dev/termination-log"))
    with contextlib.suppress(OSError):  # outside a pod there is none; the log has said it
        path.write_bytes(str(error).encode()[:_MESSAGE_BYTES])
    return EXIT_NOT_YET if isinstance(error, NotYet) else EXIT_STALLED
