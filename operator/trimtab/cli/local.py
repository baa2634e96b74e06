"""`trimtab local`: the embedded cluster from the command line."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from trimtab.cli import background
from trimtab.cli.background import Running
from trimtab.cli.images import local_images
from trimtab.cli.localapi import LocalApi
from trimtab.cli.printing import echo_json, output_option, progress
from trimtab.errors import Stalled

if TYPE_CHECKING:
    from trimtab.local.cluster import ClusterConfig

# What a cluster in the background tells who waits for it: percent, and what it does.
_READY = b"100 ready\n"
_folder_option = click.option(
    "--data-dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=background.default_folder,
    show_default="$XDG_STATE_HOME/trimtab/local",
    help="Folder of the cluster; one cluster per folder. Given to `up`, the cluster's objects are kept there too.",
)


@click.group()
def local() -> None:
    """Run an embedded cluster for people without one at hand."""


@local.command()
@_folder_option
@click.option("--foreground", is_flag=True, help="Stay until SIGTERM or Ctrl-C instead of going to the background.")
@click.option("--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the kubeconfig.")
@click.option("--in-memory", is_flag=True, help="Keep no objects in the folder, as when no --data-dir is given.")
@click.option("--ready-fd", type=int, hidden=True)
@output_option
@click.pass_context
def up(
    ctx: click.Context,
    folder: Path,
    *,
    foreground: bool,
    kubeconfig: Path | None,
    in_memory: bool,
    ready_fd: int | None,
    output: str,
) -> None:
    """Start a cluster and say how to reach it.

    Without --data-dir its objects live in memory and are gone when it ends. With it they are kept in the folder: they
    survive `down` and `kill -9`, and the next `up` with the same --data-dir goes on with them.
    """
    keep = ctx.get_parameter_source("folder") is not ParameterSource.DEFAULT and not in_memory
    folder = folder.resolve()
    target = (kubeconfig or folder / "kubeconfig").resolve()
    if foreground:
        if output == "json":
            raise click.UsageError("--foreground prints logs: leave out --output json, or --foreground")
        with background.only_one(folder):
            _run(folder, target, ready_fd, keep=keep)
        return
    if background.running(folder) is not None:
        raise background.already_runs(folder)
    _start_in_background(folder, target, keep=keep)
    if output == "json":
        found = background.running(folder)
        echo_json(asdict(found) if found else {"kubeconfig": str(target)})
    else:
        click.echo(f"export KUBECONFIG={target}")


def _run(folder: Path, kubeconfig: Path, ready_fd: int | None, *, keep: bool) -> None:
    from trimtab.cli.logs import configure
    from trimtab.local.cluster import ClusterConfig

    configure()
    # Images bring their commands along; ours are beside this Python, which need not be on the user's PATH.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Stored objects have no cycles, but a full collection visits all of them, and everybody waits.
    gc.set_threshold(10_000, 5, 1_000)
    # The thread that writes the state shall not wait long for the interpreter: every writer waits for it.
    sys.setswitchinterval(0.0005)
    config = ClusterConfig(directory=folder, images=local_images(), kubeconfig=kubeconfig, keep_state=keep)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, folder, ready_fd))


def _loop_factory() -> Any:
    """The event loop of uvloop where that is installed: services forward more with it."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


async def _serve(config: ClusterConfig, folder: Path, ready_fd: int | None) -> None:
    from trimtab.local.cluster import EmbeddedCluster

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if ready_fd is not None:
        os.write(ready_fd, b"50 starting API server, controllers and node\n")
    async with EmbeddedCluster(config) as cluster:
        note = Running(os.getpid(), cluster.url, str(cluster.kubeconfig_path), datetime.now(UTC).isoformat())
        background.write_note(folder, note)
        try:
            if ready_fd is None:
                print(f"ready: export KUBECONFIG={cluster.kubeconfig_path}", flush=True)
            else:
                os.write(ready_fd, _READY)
                os.close(ready_fd)
            await stop.wait()
        finally:
            background.remove_note(folder)


def _start_in_background(folder: Path, kubeconfig: Path, *, keep: bool) -> None:
    """Start ourselves in the foreground, detached, and wait until it says that it is ready.

    Raises:
        Stalled: It ended instead; the message has the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "cluster.log"
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "trimtab", "local", "up", "--foreground"]
    command += ["--data-dir", str(folder), "--kubeconfig", str(kubeconfig), "--ready-fd", str(write_end)]
    command += [] if keep else ["--in-memory"]
    with log.open("ab") as output:
        start = output.tell()
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(write_end,),
            cwd=folder,
        )
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told, progress() as show:
        show("starting a process", 10)
        for line in told:
            percent, _, doing = line.decode().rstrip().partition(" ")
            show(doing, int(percent))
            if line == _READY:
                return
    tail = log.read_bytes()[start:][-2_000:].decode(errors="replace").strip()
    raise Stalled("StartFailed", f"the cluster did not start; the end of {log} says:\n{tail}")


@local.command()
@_folder_option
@output_option
def down(folder: Path, output: str) -> None:
    """End the cluster and everything that runs on it."""
    found = background.running(folder.resolve())
    if found is not None:
        background.stop(found)
    if output == "json":
        echo_json({"ended": asdict(found) if found else None})
    elif found is None:
        click.echo(f"no embedded cluster runs in {folder}")
    else:
        click.echo(f"the embedded cluster (pid {found.pid}) has ended")


@local.command()
@_folder_option
@output_option
def status(folder: Path, output: str) -> None:
    """Show nodes, pods and node groups."""
    found, api = _api(folder)
    facts = {
        "pid": found.pid,
        "url": found.url,
        "kubeconfig": found.kubeconfig,
        "nodes": [_node_facts(n) for n in api.items("/api/v1/nodes")],
        "pods": [_pod_facts(p) for p in api.items("/api/v1/pods")],
        "nodeGroups": [_group_facts(g) for g in api.items("/apis/local.trimtab.dev/v1/nodegroups")],
    }
    if output == "json":
        echo_json(facts)
        return
    click.echo(f"embedded cluster {found.url} (pid {found.pid})\nexport KUBECONFIG={found.kubeconfig}")
    for title in ("nodes", "nodeGroups", "pods"):
        rows = facts[title]
        if isinstance(rows, list) and rows:
            click.echo("\n" + _table(title, rows))


@local.command()
@click.argument("node")
@_folder_option
@output_option
def interrupt(node: str, folder: Path, output: str) -> None:
    """Announce that NODE of a node group will be taken away, as a cloud does with spot machines."""
    _, api = _api(folder)
    api.interrupt(node)
    if output == "json":
        echo_json({"node": node})
    else:
        click.echo(f"node {node} is interrupted; its node group takes it away after its notice")


def _api(folder: Path) -> tuple[Running, LocalApi]:
    found = background.running(folder.resolve())
    if found is None:
        raise Stalled("NotRunning", f"no embedded cluster runs in {folder}; start one with `trimtab local up`")
    return found, LocalApi(Path(found.kubeconfig))


def _node_facts(node: dict[str, Any]) -> dict[str, Any]:
    labels = node["metadata"].get("labels") or {}
    taints = [t["key"] for t in node["spec"].get("taints") or ()]
    return {
        "name": node["metadata"]["name"],
        "group": labels.get("local.trimtab.dev/node-group", ""),
        "zone": labels.get("topology.kubernetes.io/zone", ""),
        "taints": ",".join(taints),
    }


def _pod_facts(pod: dict[str, Any]) -> dict[str, Any]:
    status = pod.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    return {
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "phase": "Terminating" if "deletionTimestamp" in pod["metadata"] else status.get("phase", ""),
        "ready": ready,
        "node": pod["spec"].get("nodeName", ""),
        "address": status.get("podIP", ""),
    }


def _group_facts(group: dict[str, Any]) -> dict[str, Any]:
    status = group.get("status", {})
    return {
        "name": group["metadata"]["name"],
        "desired": group["spec"].get("desired", 0),
        "ready": status.get("ready", 0),
        "nodes": " ".join(f"{n['name']}={n['phase']}" for n in status.get("nodes") or ()),
    }


def _table(title: str, rows: Sequence[dict[str, Any]]) -> str:
    heading = [("name" if title == "pods" else title) if name == "name" else name for name in rows[0]]
    lines = [[h.upper() for h in heading], *([str(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)
