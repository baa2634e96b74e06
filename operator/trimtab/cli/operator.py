"""`trimtab operator`: the controller, configured by flags or environment."""

from __future__ import annotations

import logging

import click

from trimtab.api.quantities import amount, seconds
from trimtab.version import __version__


def _duration(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _bytes(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        number = int(amount(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if number < 1:
        raise click.BadParameter(f"{value} leaves no room; leave out --node-cache-volume where nothing is to be kept")
    return number


def _volume(_: click.Context, __: click.Parameter, value: str) -> str:
    from trimtab.planning.manifests.nodecache import checked

    try:
        return checked(value) if value else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _namespaces(_: click.Context, __: click.Parameter, value: str) -> frozenset[str]:
    return frozenset(name.strip() for name in value.split(",") if name.strip())


@click.command(context_settings={"auto_envvar_prefix": "TRIMTAB"})
@click.option("--artifacts-uri", help="Where artifacts go unless a model says otherwise: s3://bucket/artifacts.")
@click.option(
    "--allow-code-namespaces",
    default="",
    callback=_namespaces,
    help="Namespaces whose models may run code on load, by comma; * for all.",
)
@click.option("--compress-image", default=f"trimtab/compress:{__version__}", show_default=True)
@click.option("--serve-image", default=f"trimtab/serve:{__version__}", show_default=True)
@click.option("--gateway-image", default=f"trimtab/gateway:{__version__}", show_default=True)
@click.option(
    "--gateway-replicas",
    type=click.IntRange(1, 10),
    default=2,
    show_default=True,
    help="Pods of each namespace's gateway.",
)
@click.option(
    "--url-template",
    default="http://{name}.{namespace}.svc.cluster.local",
    show_default=True,
    help="status.url; fields: name, namespace, clusterIP.",
)
@click.option(
    "--on-demand-hold",
    default="2m",
    show_default=True,
    callback=_duration,
    help="How long on-demand replicas stay after spot came back.",
)
@click.option(
    "--node-hold",
    default="30s",
    show_default=True,
    callback=_duration,
    help="How long a node must be empty before it is given back.",
)
@click.option(
    "--node-cache-volume",
    default="",
    callback=_volume,
    help="Volume for serving.prefetch, as JSON: a source that all pods of a node see; {namespace} is replaced.",
)
@click.option(
    "--node-cache-size", default="20Gi", show_default=True, callback=_bytes, help="What artifacts may take there."
)
@click.option("--prometheus-url", help="Prometheus to ask for the models' load; none: the gateways are asked.")
@click.option(
    "--prometheus-window",
    default="45s",
    show_default=True,
    callback=_duration,
    help="How old its samples may be: three times its scrape interval.",
)
@click.option("--prometheus-token-file", help="File with the bearer token for it.")
@click.option(
    "--lease-namespace", help="Where the Lease is by which one of several operators works; none: this one does."
)
@click.option(
    "--lease-duration",
    default="15s",
    show_default=True,
    callback=_duration,
    help="Others take over when the one that works was not heard of for so long; whole seconds.",
)
@click.option(
    "--lease-renew-deadline",
    default="10s",
    show_default=True,
    callback=_duration,
    help="The one that works stops when it could not renew for so long.",
)
@click.option(
    "--lease-retry",
    default="2s",
    show_default=True,
    callback=_duration,
    help="Between two renewals, and between two looks of those that wait.",
)
@click.option("--health-host", default="0.0.0.0", show_default=True)
@click.option("--health-port", default=8081, show_default=True)
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), help="Answer Prometheus here, at /metrics; not unless set."
)
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning"]))
def operator(
    artifacts_uri: str | None,
    allow_code_namespaces: frozenset[str],
    compress_image: str,
    serve_image: str,
    gateway_image: str,
    gateway_replicas: int,
    url_template: str,
    on_demand_hold: float,
    node_hold: float,
    node_cache_volume: str,
    node_cache_size: int,
    prometheus_url: str | None,
    prometheus_window: float,
    prometheus_token_file: str | None,
    lease_namespace: str | None,
    lease_duration: float,
    lease_renew_deadline: float,
    lease_retry: float,
    health_host: str,
    health_port: int,
    metrics_port: int | None,
    log_level: str,
) -> None:
    """Run the controller until SIGTERM."""
    from trimtab.cli.logs import configure
    from trimtab.handlers.operator import run
    from trimtab.planning.leadership import Terms
    from trimtab.planning.settings import Settings

    try:
        terms = Terms(int(lease_duration), lease_renew_deadline, lease_retry)
    except ValueError as error:
        raise click.UsageError(f"--lease-duration, --lease-renew-deadline, --lease-retry: {error}") from None
    configure(getattr(logging, log_level.upper()))
    settings = Settings(
        compress_image=compress_image,
        serve_image=serve_image,
        gateway_image=gateway_image,
        gateway_replicas=gateway_replicas,
        artifacts_uri=artifacts_uri,
        allow_code_namespaces=allow_code_namespaces,
        url_template=url_template,
        on_demand_hold_s=on_demand_hold,
        node_hold_s=node_hold,
        node_cache_volume=node_cache_volume,
        node_cache_bytes=node_cache_size,
        prometheus_url=prometheus_url or None,
        prometheus_window_s=prometheus_window,
        prometheus_token_file=prometheus_token_file,
        lease_namespace=lease_namespace or None,
        lease_terms=terms,
    )
    metrics = (health_host, metrics_port) if metrics_port is not None else None
    run(settings, f"http://{health_host}:{health_port}/healthz", metrics)
