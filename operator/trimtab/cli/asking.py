"""What commands that ask a cluster have in common: which cluster, which namespace, which model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from trimtab.api.conditions import Reason
from trimtab.api.names import Key
from trimtab.errors import Stalled

if TYPE_CHECKING:
    from trimtab.effects.kubernetes import Cluster

kubeconfig_option: Callable[[Any], Any] = click.option(
    "--kubeconfig", envvar="KUBECONFIG", help="Which cluster; else KUBECONFIG or ~/.kube/config."
)
namespace_option: Callable[[Any], Any] = click.option(
    "-n", "--namespace", help="Namespace of the model; else the context's, else default."
)


class Reads(Protocol):
    """The part of a cluster that is needed to ask."""

    async def get(self, kind: Any, name: str, namespace: str | None = None) -> dict[str, Any] | None: ...

    async def list(
        self, kind: Any, namespace: str | None = None, labels: str | None = None
    ) -> list[dict[str, Any]]: ...


@asynccontextmanager
async def connected(kubeconfig: str | None) -> AsyncIterator[Cluster]:
    """Lend a connection.

    Raises:
        click.ClickException: There is no cluster to ask; says what to set.
    """
    from kubernetes.aio.config import ConfigException

    from trimtab.effects.kubernetes import Cluster

    try:
        cluster = await Cluster.connect(kubeconfig)
    except (ConfigException, OSError) as error:
        raise click.ClickException(f"no cluster to ask: {error}; set KUBECONFIG or --kubeconfig") from None
    async with cluster:
        yield cluster


def chosen_namespace(namespace: str | None, kubeconfig: str | None) -> str:
    """Return the namespace to look in, as kubectl chooses it."""
    from kubernetes.aio.config import ConfigException, list_kube_config_contexts

    if namespace:
        return namespace
    try:
        _, active = list_kube_config_contexts(config_file=kubeconfig)
    except (ConfigException, OSError):
        return "default"
    return str((active.get("context") or {}).get("namespace") or "default")


async def annotated(cluster: Cluster, key: Key, annotations: Mapping[str, str | None]) -> None:
    """Set annotations of a model, with the user's rights; None takes one away."""
    from trimtab.effects.kinds import MODELS

    patch = {"metadata": {"annotations": dict(annotations)}}
    await cluster.merge(MODELS, key.name, key.namespace, patch, manager="trimtab-cli")


async def model_named(cluster: Reads, name: str, namespace: str) -> dict[str, Any]:
    """Return an OptimizedModel.

    Raises:
        Stalled: There is none; says how to find it.
    """
    from trimtab.effects.kinds import MODELS

    model = await cluster.get(MODELS, name, namespace)
    if model is None:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"there is no OptimizedModel {name} in namespace {namespace}; see `kubectl get optimizedmodels -A`",
        )
    return model
