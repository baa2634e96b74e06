"""Kubernetes events for what a user would want to know: once each, never about each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from trimtab.api.conditions import timestamp
from trimtab.api.names import short_hash
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.errors import NotYet
from trimtab.planning.plan import Announce

log = structlog.get_logger(__name__)

# Enough for the lives of five thousand models; older duplicates may be told again, and are refused as such.
_REMEMBERED = 16384
# Kubernetes refuses an event whose note is longer.
_MESSAGE_CHARACTERS = 1024


class Announcer:
    """Writes core/v1 Events; the name is made from what makes two announcements one, so a restart repeats none."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._told: OrderedDict[str, None] = OrderedDict()

    async def announce(self, about: dict[str, Any], event: Announce) -> None:
        """Tell it on `about`. An event that cannot be written is logged: it must not hold up the work it tells of."""
        meta = about["metadata"]
        name = f"{meta['name']}.{short_hash(str(meta.get('uid', '')), event.reason, event.dedupe)}"
        if name in self._told:
            return
        now = timestamp(self._clock())
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            # Events of cluster-scoped objects live in the default namespace, as Kubernetes' own do.
            "metadata": {"name": name, "namespace": meta.get("namespace", "default")},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": meta["name"],
                "uid": meta.get("uid", ""),
                **({"namespace": meta["namespace"]} if "namespace" in meta else {}),
            },
            "reason": event.reason,
            "message": event.message[:_MESSAGE_CHARACTERS],
            "type": event.type,
            "source": {"component": "trimtab"},
            "reportingComponent": "trimtab.dev/operator",
            "reportingInstance": "trimtab",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._cluster.create(body)
        except ApiError as error:
            if error.status != 409:
                log.warning("event.refused", reason=event.reason, error=error.message)
                return
        except NotYet as error:
            log.warning("event.not_written", reason=event.reason, error=error.message)
            return
        log.info("event.announced", model=meta["name"], reason=event.reason, message=event.message)
        self._told[name] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
