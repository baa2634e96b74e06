"""What the platform team decides for the whole installation."""

from __future__ import annotations

from dataclasses import dataclass, field

from trimtab.planning.leadership import Terms


@dataclass(frozen=True, slots=True)
class Settings:
    """Operator settings; the environment variable of each is TRIMTAB_ and its name."""

    compress_image: str
    """Image of compression Jobs."""
    serve_image: str
    """Image of serving pods, unless a model names its own."""
    gateway_image: str
    """Image of the gateway: HAProxy and its agent."""
    gateway_replicas: int = 2
    """Pods of each gateway: one may go without a request failing."""
    artifacts_uri: str | None = None
    """Where artifacts go, unless a model says otherwise."""
    allow_code_namespaces: frozenset[str] = frozenset()
    """Namespaces whose models may run code on load; `*` means all."""
    node_cache_volume: str = ""
    """JSON of the volume in which replicas of a node keep artifacts for each other; empty: there is none."""
    node_cache_bytes: int = 20 * 1024**3
    """What they keep there at most."""
    url_template: str = "http://{name}.{namespace}.svc.cluster.local"
    """status.url; fields: name, namespace, clusterIP."""
    on_demand_hold_s: float = 60.0
    """How long on-demand replicas stay after spot capacity came back."""
    node_hold_s: float = 30.0
    """How long a node must be empty before it is given back."""

    prometheus_url: str | None = None
    """Where models' load is asked for; None: the gateways are asked themselves."""
    prometheus_window_s: float = 45.0
    """How old a sample of Prometheus may be: three scrapes, so that a lost one is no silence."""
    prometheus_token_file: str | None = None
    """File with the bearer token for it."""
    lease_namespace: str | None = None
    """Where the Lease is that lets one of several operators work; None: this one always works."""
    lease_terms: Terms = field(default_factory=Terms)
    """How long the Lease lasts."""

    def allows_code(self, namespace: str) -> bool:
        return "*" in self.allow_code_namespaces or namespace in self.allow_code_namespaces
