"""`trimtab gateway run | proxy | agent | stop`: a gateway's container, its two parts alone, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import click

from trimtab.api.names import GATEWAY_PORT, GATEWAY_STATS_PORT, GATEWAY_TLS_PORT

_DIRECTORY = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder that HAProxy and agent share.",
)
_PATIENCE = click.option(
    "--patience", type=float, default=600.0, show_default=True, help="Seconds to wait for the agent."
)


@click.group()
def gateway() -> None:
    """Run HAProxy, and the agent that drives it."""


@gateway.command(context_settings={"ignore_unknown_options": True})
@_DIRECTORY
@_PATIENCE
@click.argument("agents_options", nargs=-1, type=click.UNPROCESSED)
def run(directory: Path, patience: float, agents_options: tuple[str, ...]) -> None:
    """Run both: HAProxy until it ends, and the agent with these options, anew whenever it does."""
    from trimtab.cli import logs
    from trimtab.workloads.gateway.together import run_together

    logs.configure()
    agent = [sys.executable, "-m", "trimtab", "gateway", "agent", f"--directory={directory}", *agents_options]
    sys.exit(asyncio.run(run_together(directory, agent, patience)))


@gateway.command()
@_DIRECTORY
@_PATIENCE
def proxy(directory: Path, patience: float) -> None:
    """Become HAProxy as soon as the agent has written its configuration."""
    from trimtab.cli import logs
    from trimtab.workloads.gateway.proxy import become_haproxy

    logs.configure()
    become_haproxy(directory, patience)


@gateway.command()
@_DIRECTORY
@click.option("--delay", type=float, default=5.0, show_default=True, help="Seconds to go on taking connections.")
@click.option("--patience", type=float, default=50.0, show_default=True, help="Seconds for requests in flight.")
def stop(directory: Path, delay: float, patience: float) -> None:
    """Let HAProxy finish its requests and end (for `preStop`): SIGTERM alone would break them off."""
    from trimtab.cli import logs
    from trimtab.workloads.gateway.stopping import stop_softly

    logs.configure()
    asyncio.run(stop_softly(directory, delay, patience))


@gateway.command()
@_DIRECTORY
@click.option("--namespace", required=True, help="Whose models to route to.")
@click.option("--host", required=True, envvar="POD_IP", help="Address to listen on: the pod's own.")
@click.option("--port", type=int, default=GATEWAY_PORT, show_default=True, help="Where HAProxy takes requests.")
@click.option("--stats-port", type=int, default=GATEWAY_STATS_PORT, show_default=True, help="Where the agent reports.")
@click.option("--gateways", type=click.IntRange(1, 100), default=1, show_default=True, help="Pods of this gateway.")
@click.option(
    "--certificates",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Folder in which tls.crt and tls.key may lie; while they do, HAProxy takes TLS on port {GATEWAY_TLS_PORT}.",
)
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Instead of the pod's account.")
def agent(
    directory: Path,
    namespace: str,
    host: str,
    port: int,
    stats_port: int,
    gateways: int,
    certificates: Path | None,
    kubeconfig: Path | None,
) -> None:
    """Drive HAProxy from models and EndpointSlices, and report its traffic."""
    from trimtab.cli import logs
    from trimtab.workloads.gateway.configuration import Listener
    from trimtab.workloads.gateway.service import serve

    logs.configure()
    # What the API server told has no cycles, but a full collection visits all of it, and changes wait.
    gc.set_threshold(10_000, 5, 1_000)
    # Neither shall a change wait for the threads that read HAProxy's lists and write its files.
    sys.setswitchinterval(0.0005)
    listener = Listener(host, port, namespace, gateways, certificates=certificates)
    asyncio.run(serve(directory, listener, stats_port, str(kubeconfig) if kubeconfig else None))
