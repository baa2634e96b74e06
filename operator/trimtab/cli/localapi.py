"""The few questions that `trimtab local` asks its own cluster."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from trimtab.errors import Stalled

Object = dict[str, Any]

_INTERRUPTION = {"key": "local.trimtab.dev/interruption", "effect": "NoSchedule"}
_GROUP_LABEL = "local.trimtab.dev/node-group"
_TIMEOUT_S = 10.0


class LocalApi:
    """The API server of an embedded cluster, by its kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._url = str(cluster["server"])
        self._token = str(config["users"][0]["user"]["token"])
        trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
        secure = urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=trust))
        # A proxy of the user's environment has no way to this machine's loopback addresses.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)

    def items(self, path: str) -> Sequence[Object]:
        """The objects of a list."""
        found: Sequence[Object] = self._call("GET", path)["items"]
        return found

    def interrupt(self, name: str) -> Object:
        """Put the interruption taint on a node; its group takes it away after the notice.

        Raises:
            Stalled: There is no such node, or it belongs to no group.
        """
        nodes = {n["metadata"]["name"]: n for n in self.items("/api/v1/nodes")}
        able = sorted(n for n, o in nodes.items() if _GROUP_LABEL in (o["metadata"].get("labels") or {}))
        if name not in able:
            what = "belongs to no node group" if name in nodes else "does not exist"
            message = f"node {name!r} {what}; nodes that can be interrupted: {', '.join(able) or 'none'}"
            raise Stalled("NotInterruptible", message)
        node = nodes[name]
        taints = [t for t in node["spec"].get("taints") or () if t["key"] != _INTERRUPTION["key"]]
        version = node["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": [*taints, _INTERRUPTION]}}
        return self._call("PATCH", f"/api/v1/nodes/{name}", patch)

    def _call(self, method: str, path: str, body: Object | None = None) -> Object:
        request = urllib.request.Request(  # noqa: S310 - the address is our own server's
            self._url + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/merge-patch+json",
                "Accept": "application/json",
            },
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                found: Object = json.load(answer)
        except urllib.error.HTTPError as error:
            message = json.load(error).get("message", error.reason)
            raise Stalled("ApiRefused", f"{method} {path}: {message}") from error
        except OSError as error:
            raise Stalled("ApiUnreachable", f"the API server at {self._url}: {error}") from error
        return found
