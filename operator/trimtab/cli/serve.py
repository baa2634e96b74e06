"""`trimtab serve`: the models of one pod."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.errors import NotYet, Stalled, TrimtabError

if TYPE_CHECKING:
    from trimtab.workloads.serve.model import ModelSettings

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
@click.option("--model-name", envvar="TRIMTAB_SERVE_MODEL_NAME", help="Name in /v2/models/NAME.")
@click.option("--artifact-uri", envvar="TRIMTAB_SERVE_ARTIFACT_URI", help="Where the artifact is.")
@click.option(
    "--artifact-digest",
    envvar="TRIMTAB_SERVE_ARTIFACT_DIGEST",
    help="sha256:… of its manifest; anything else is refused.",
)
@click.option("--revision", envvar="TRIMTAB_SERVE_REVISION", help="Name in metadata and metrics.")
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
    "--device",
    type=click.Choice(["CPU", "GPU", "NPU", "FPGA", "TPU"]),
    default="CPU",
    envvar="TRIMTAB_SERVE_DEVICE",
    help="What models run on: GPU is ONNX Runtime with CUDA, NPU is OpenVINO; the others are for images of your own.",
)
@click.option(
    "--max-body-bytes",
    type=click.IntRange(1),
    default=64 * 1024 * 1024,
    envvar="TRIMTAB_SERVE_MAX_BODY_BYTES",
    help="Larger requests get 413. As JSON a body takes several times its size in memory.",
)
@click.option(
    "--max-json-bytes",
    type=click.IntRange(1),
    default=32 * 1024 * 1024,
    envvar="TRIMTAB_SERVE_MAX_JSON_BYTES",
    help="More JSON in a request gets 413; the binary form takes up to --max-body-bytes.",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    envvar="TRIMTAB_SERVE_GRPC_PORT",
    help="Listen for gRPC too; 0: any.  [default: no gRPC]",
)
@click.option(
    "--loading",
    type=click.Choice(["Eager", "Lazy"]),
    default="Eager",
    envvar="TRIMTAB_SERVE_LOADING",
    help="Lazy: load the model with its first request, and let go of it where others need the memory.",
)
@click.option(
    "--cache-entries",
    type=click.IntRange(1),
    envvar="TRIMTAB_SERVE_CACHE_ENTRIES",
    help="Keep this many answers for equal requests.  [default: none]",
)
@click.option(
    "--cache-ttl",
    type=_Seconds(),
    envvar="TRIMTAB_SERVE_CACHE_TTL",
    help="How long an answer is kept.  [default: ever]",
)
@click.option(
    "--models",
    "models_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="TRIMTAB_SERVE_MODELS",
    help="JSON list of models to serve, instead of the options for one (docs/serving.md).",
)
@click.option(
    "--memory-budget",
    type=click.IntRange(1),
    envvar="TRIMTAB_SERVE_MEMORY_BUDGET",
    help="Bytes that models may take together; lazy ones leave for others.  [default: no bound]",
)
@click.option(
    "--repository-control",
    is_flag=True,
    envvar="TRIMTAB_SERVE_REPOSITORY_CONTROL",
    help="Let clients load and unload models.",
)
@click.option(
    "--artifact-cache",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="TRIMTAB_SERVE_ARTIFACT_CACHE",
    help="Folder where the pods of a node keep artifacts for each other.  [default: a private one]",
)
@click.option(
    "--artifact-cache-bytes",
    type=click.IntRange(1),
    default=20 * 1024**3,
    envvar="TRIMTAB_SERVE_ARTIFACT_CACHE_BYTES",
    help="What that folder may take; what no pod uses goes first.",
)
def serve(
    model_name: str | None,
    artifact_uri: str | None,
    artifact_digest: str | None,
    revision: str | None,
    host: str,
    port: int,
    max_batch: int,
    max_wait: float,
    drain_delay: float,
    drain_timeout: float,
    threads: int | None,
    engine: str,
    device: str,
    max_body_bytes: int,
    max_json_bytes: int,
    grpc_port: int | None,
    loading: str,
    cache_entries: int | None,
    cache_ttl: float | None,
    models_file: Path | None,
    memory_budget: int | None,
    repository_control: bool,
    artifact_cache: Path | None,
    artifact_cache_bytes: int,
) -> None:
    """Serve artifacts over the Open Inference Protocol.

    Exits with 0 after a drain, 65 when an artifact can never be served, 75 when it could not be fetched now; the
    reason is in the termination message.
    """
    from trimtab.api.compression import Device
    from trimtab.api.serving import Engine
    from trimtab.cli.logs import configure
    from trimtab.workloads.serve.cache import CacheRules
    from trimtab.workloads.serve.cpus import available_cpus
    from trimtab.workloads.serve.life import Interrupted, Settings
    from trimtab.workloads.serve.life import serve as live
    from trimtab.workloads.serve.listed import read_models
    from trimtab.workloads.serve.model import ModelSettings

    configure()
    # What a request leaves behind has no cycles, and what stays is not worth a visit every few hundred requests.
    gc.set_threshold(10_000, 5, 1_000)
    if (models_file is None) == (model_name is None):
        raise click.UsageError("give either --models or --model-name, --artifact-uri, --artifact-digest and --revision")
    if cache_ttl is not None and cache_entries is None:
        raise click.UsageError("--cache-ttl needs --cache-entries")
    if models_file is not None:
        models = read_models(models_file)
    elif model_name and artifact_uri and artifact_digest and revision:
        one = ModelSettings(
            name=model_name,
            revision=revision,
            artifact_uri=artifact_uri,
            artifact_digest=artifact_digest,
            engine=Engine(engine),
            max_batch=max_batch,
            max_wait_s=max_wait,
            lazy=loading == "Lazy",
            cache=CacheRules(cache_entries, cache_ttl) if cache_entries else None,
        )
        models = (one,)
    else:
        raise click.UsageError("--model-name needs --artifact-uri, --artifact-digest and --revision")
    settings = Settings(
        models=models,
        host=host,
        port=port,
        drain_delay_s=drain_delay,
        drain_timeout_s=drain_timeout,
        threads=threads or available_cpus(),
        max_body_bytes=max_body_bytes,
        max_json_bytes=max_json_bytes,
        grpc_port=grpc_port,
        memory_bytes=memory_budget,
        repository_control=repository_control,
        device=Device(device),
    )
    with tempfile.TemporaryDirectory(prefix="trimtab-serve-", ignore_cleanup_errors=True) as folder:
        fetching = _Fetching(Path(folder), artifact_cache, artifact_cache_bytes)
        try:
            _run(live(settings, fetching, time.perf_counter))
        except Interrupted as interrupted:
            code = 128 + interrupted.number
        except (Stalled, NotYet) as error:
            code = _report(error)
        else:
            code = 0
    sys.stderr.flush()
    # A download or a run may still be going on in a thread of C++, which aborts when the interpreter ends under it.
    os._exit(code)


class _Fetching:
    """Brings artifacts to this machine: to the folder that its pods share, or to one of this pod alone."""

    def __init__(self, private: Path, shared: Path | None, shared_bytes: int) -> None:
        self._private = private
        self._shared = shared
        self._shared_bytes = shared_bytes

    def __call__(self, model: ModelSettings) -> Path:
        import structlog

        from trimtab.store import NodeCache, open_artifact

        if self._shared is not None:
            found = NodeCache(self._shared, self._shared_bytes).fetch(model.artifact_uri, model.artifact_digest)
            if found is not None:
                return found
            structlog.get_logger("trimtab.serve").warning("artifact_cache.unusable", folder=str(self._shared))
        into = self._private / model.artifact_digest.replace(":", "-")
        open_artifact(model.artifact_uri, model.artifact_digest, into)
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
