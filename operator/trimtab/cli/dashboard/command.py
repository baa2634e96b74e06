"""`trimtab dashboard`: a read-only page of all models, live."""

from __future__ import annotations

import asyncio
import logging
import signal
import webbrowser

import click

from trimtab.cli.asking import connected, kubeconfig_option
from trimtab.cli.printing import echo_json, output_option


@click.command()
@click.option("--listen", default="127.0.0.1:8088", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option("-n", "--namespace", help="Only the models of this one.")
@click.option("--host-name", "names", multiple=True, help="A further name that browsers may know this page by.")
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@kubeconfig_option
@output_option
def dashboard(
    listen: str, namespace: str | None, names: tuple[str, ...], *, show: bool, kubeconfig: str | None, output: str
) -> None:
    """Serve a read-only page of all models until Ctrl-C: sizes, drops, replicas, rollouts, cost, reports; live.

    It asks for no password: listen on loopback, or put it behind what asks for one.
    """
    from trimtab.cli import logs

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter(f"{listen!r} is no HOST:PORT; write it like 127.0.0.1:8088", param_hint="--listen")
    logs.configure(logging.WARNING)
    asyncio.run(_serve(host.strip("[]"), int(port), namespace, names, kubeconfig, show=show, output=output))


async def _serve(
    host: str,
    port: int,
    namespace: str | None,
    names: tuple[str, ...],
    kubeconfig: str | None,
    *,
    show: bool,
    output: str,
) -> None:
    from trimtab.cli.dashboard.serving import serving

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with connected(kubeconfig) as cluster:
        try:
            async with serving(cluster, host, port, namespace=namespace, names=names) as url:
                if output == "json":
                    echo_json({"url": url})
                else:
                    click.echo(f"dashboard: {url}  (Ctrl-C ends it)")
                if show:
                    webbrowser.open(url)
                await ended.wait()
        except OSError as error:
            raise click.ClickException(f"--listen {host}:{port}: {error.strerror or error}; name another") from None
