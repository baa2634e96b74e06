"""`trimtab interrupt`: what happens when a node goes, tried out."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from trimtab.api.names import INTERRUPTED_TAINT
from trimtab.cli.asking import Reads, chosen_namespace, connected, kubeconfig_option
from trimtab.cli.printing import echo_json, is_attended, output_option
from trimtab.errors import Stalled

Object = dict[str, Any]
# The embedded cluster's node groups take a node with this taint away after its notice, as a cloud does.
_GROUP_LABEL = "local.trimtab.dev/node-group"
_GROUP_TAINT = "local.trimtab.dev/interruption"
_SHOWN = 10


@click.command()
@click.argument("target", metavar="NODE|POD")
@click.option("-n", "--namespace", help="Namespace of the pod; else the context's, else default.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@kubeconfig_option
@output_option
def interrupt(target: str, namespace: str | None, yes: bool, kubeconfig: str | None, output: str) -> None:
    """Give a node its notice, as a cloud does before it takes a spot machine back; a POD stands for its node.

    On the embedded cluster the node goes after its notice. On any other one it gets the taint
    trimtab.dev/interrupted:NoSchedule, which the operator treats as a notice: replicas there are replaced elsewhere.
    The node itself stays.
    """
    told = asyncio.run(_interrupted(target, chosen_namespace(namespace, kubeconfig), kubeconfig, yes=yes))
    if output == "json":
        echo_json(told)
        return
    name = told["node"]
    if not told["changed"]:
        click.echo(f"node {name} has its notice already ({told['taint']})")
    elif told["goes"]:
        click.echo(f"node {name} is interrupted; its node group takes it away after its notice")
    else:
        click.echo(f"node {name} has its notice; take it back with `kubectl taint node {name} {told['taint']}-`")


async def _interrupted(target: str, namespace: str, kubeconfig: str | None, *, yes: bool) -> Object:
    from trimtab.effects.kinds import NODES

    async with connected(kubeconfig) as cluster:
        node = await node_of(cluster, target, namespace)
        name, embedded = node["metadata"]["name"], _GROUP_LABEL in (node["metadata"].get("labels") or {})
        taint = _GROUP_TAINT if embedded else INTERRUPTED_TAINT
        taints = (node.get("spec") or {}).get("taints") or []
        changed = all(entry["key"] != taint for entry in taints)
        if changed:
            if not embedded and not yes:
                _ask(name, taint)
            patch = {
                "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
                "spec": {"taints": [*taints, {"key": taint, "effect": "NoSchedule"}]},
            }
            await cluster.merge(NODES, name, None, patch, manager="trimtab-cli")
        return {"node": name, "taint": taint, "changed": changed, "goes": embedded}


async def node_of(cluster: Reads, target: str, namespace: str) -> Object:
    """Return the node of that name, or the one that the pod of that name runs on.

    Raises:
        Stalled: There is neither, or the pod has no node yet; says which nodes there are.
    """
    from trimtab.effects.kinds import NODES, PODS

    node = await cluster.get(NODES, target)
    if node is not None:
        return node
    pod = await cluster.get(PODS, target, namespace)
    if pod is None:
        names = sorted(entry["metadata"]["name"] for entry in await cluster.list(NODES))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        there = ", ".join(names[:_SHOWN]) + more if names else "none"
        raise Stalled(
            "NotFound",
            f"NODE|POD: {target}: neither a node nor a pod in namespace {namespace}; nodes there are: {there}",
        )
    on = (pod.get("spec") or {}).get("nodeName")
    node = await cluster.get(NODES, on) if on else None
    if node is None:
        raise Stalled("NotScheduled", f"NODE|POD: pod {target} runs on no node yet; name another one")
    return node


def _ask(node: str, taint: str) -> None:
    """Have a person confirm.

    Raises:
        click.Abort: They do not. Stalled: Nobody is there to ask.
    """
    if not is_attended():
        raise Stalled(
            "NotConfirmed", f"node {node} is no node of an embedded cluster: give --yes to put the taint {taint} on it"
        )
    click.confirm(
        f"Put the taint {taint}:NoSchedule on node {node}? Its replicas of all models are replaced elsewhere",
        abort=True,
        err=True,
    )
