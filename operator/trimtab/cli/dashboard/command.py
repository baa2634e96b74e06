"""`trimtab dashboard`: a read-only page of all models, live."""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import Any

import click

from trimtab.cli.asking import connected, kubeconfig_option
from trimtab.cli.report import artifact_uri, fetch_report


@click.command()
@click.option("--listen", default="127.0.0.1:8088", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option("-n", "--namespace", help="Only the models of this one.")
@click.option("--host-name", "names", multiple=True, help="A further name that browsers may know this page by.")
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@kubeconfig_option
def dashboard(listen: str, namespace: str | None, names: tuple[str, ...], show: bool, kubeconfig: str | None) -> None:
    """Serve a read-only page of all models until Ctrl-C: sizes, drops, replicas, rollouts, cost, reports; live.

    It asks for no password: listen on loopback, or put it behind what asks for one.
    """
    from trimtab.cli import logs

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter(f"{listen!r} is no HOST:PORT; write it like 127.0.0.1:8088", param_hint="--listen")
    logs.configure(logging.WARNING)
    allowed = frozenset({host.strip("[]"), "localhost", "127.0.0.1", "::1", *names})
    asyncio.run(_serve(host.strip("[]"), int(port), namespace, allowed, show, kubeconfig))


async def _serve(
    host: str, port: int, namespace: str | None, hosts: frozenset[str], show: bool, kubeconfig: str | None
) -> None:
    from aiohttp import web

    from trimtab.cli.dashboard.board import Board
    from trimtab.cli.dashboard.server import application

    board = Board(time.time)
    async with connected(kubeconfig) as cluster:

        async def report(namespace: str, name: str) -> str:
            return await asyncio.to_thread(_page, await artifact_uri(cluster, name, namespace))

        runner = web.AppRunner(application(board, hosts, report), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                raise click.ClickException(f"--listen {host}:{port}: {error.strerror or error}; name another") from None
            bound = runner.addresses[0][1]
            url = f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
            click.echo(f"dashboard: {url}  (Ctrl-C ends it)")
            if show:
                webbrowser.open(url)
            await _until_signalled(_follow(cluster, board, namespace))
        finally:
            await runner.cleanup()


async def _follow(cluster: Any, board: Any, namespace: str | None) -> None:
    from trimtab.effects.kinds import MODELS

    async for change, item in cluster.watch(MODELS, namespace):
        if change == "DELETED":
            board.drop(item)
        elif change != "SYNCED":
            board.put(item)


async def _until_signalled(work: Any) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise


def _page(uri: str) -> str:
    """Return the report of an artifact as HTML, every byte checked."""
    with tempfile.TemporaryDirectory() as scratch:
        fetch_report(uri, Path(scratch), only="report.html")
        return (Path(scratch) / "report.html").read_text()
