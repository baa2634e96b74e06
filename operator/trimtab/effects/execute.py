"""Carries plans out: every action in its order, nothing that is already so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import structlog
from pydantic_core import to_json

from trimtab.api.names import API_VERSION, MADE_FROM_ANNOTATION, Key
from trimtab.effects.announce import Announcer
from trimtab.effects.kinds import DEPLOYMENTS, MODELS, PODS, Kind, kind_of
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.effects.tables import pack, unpack
from trimtab.planning.plan import Action, Annotate, Announce, Apply, Delete, Manifest, Scale

log = structlog.get_logger(__name__)

Object = dict[str, Any]


Identity = tuple[str, str, str]
"""Kind, namespace, name."""

WATCHED = {"Deployment", "Job", "Service"}
# Kinds that nobody watches are looked at again after this long, should somebody have changed them.
_RESYNC_SECONDS = 300.0
# A watch shows what we wrote soon; one that is silent for longer may have ended.
_UNSEEN_SECONDS = 30.0
# Objects of a thousand models at work; those of thousands at rest need not take memory.
_MOST_SETTLED = 8192


class _Applied(NamedTuple):
    """What was applied last."""

    at: float
    version: int
    """The resource version that it got."""
    made_from: str
    """The digest of the manifest."""
    answered: bytes | None
    """The same fields, packed, as the API server wrote them, where it did so otherwise: `1000m` of CPU becomes `1`."""


class _Settled(NamedTuple):
    """What was found to be as it should."""

    said: int
    """The hash of the manifest: looks are many, and few plans say anything new."""
    made_from: str
    shown: object | None
    """What tells the object that was found from later ones; None before it was found."""


def _is_anothers(found: Object | None, about: Object) -> bool:
    """Whether an object is another model's, which may be called as a revision of this one is."""
    owner = Key.owner_of(found) if found is not None else None
    return owner is not None and owner.name != about["metadata"]["name"]


class Executor:
    """Does what plans say."""

    def __init__(
        self,
        cluster: Cluster,
        announcer: Announcer,
        observed: Callable[[Identity], Object | None],
        has_seen: Callable[[str, int], bool],
        clock: Callable[[], float],
        shown: Callable[[Identity], object | None] = lambda _: None,
    ) -> None:
        """`observed` answers with the body of an object of a watched kind, as far as known.

        `has_seen` says whether that includes a write to a kind with the resource version of its answer; `clock` is in
        seconds; `shown` is another object whenever what is `observed` may be another one, None where nobody can tell.
        """
        self._cluster = cluster
        self._announcer = announcer
        self._observed = observed
        self._has_seen = has_seen
        self._clock = clock
        self._applied: dict[Identity, _Applied] = {}
        self._shown = shown
        self._settled: dict[Identity, _Settled] = {}
        self._looking: set[Identity] = set()

    async def execute(self, about: Object, actions: Iterable[Action]) -> list[str]:
        """Carry `actions` out in order; return what changed, as `kind/name verb`.

        The first failure ends it: the next reconcile plans anew from what is then there.
        """
        changes: list[str] = []
        for action in actions:
            match action:
                case Apply(manifest):
                    changes += await self._apply(manifest)
                case Scale(namespace, name, replicas):
                    await self._cluster.merge(DEPLOYMENTS, name, namespace, {"spec": {"replicas": replicas}})
                    changes.append(f"Deployment/{name} scaled to {replicas}")
                case Annotate(namespace, pod, annotations):
                    patch = {"metadata": {"annotations": annotations}}
                    await self._cluster.merge(PODS, pod, namespace, patch)
                    changes.append(f"Pod/{pod} annotated")
                case Delete(api_version, kind, namespace, name):
                    if kind in WATCHED and _is_anothers(self._observed((kind, namespace or "", name)), about):
                        continue
                    await self._cluster.delete(kind_of({"apiVersion": api_version, "kind": kind}), name, namespace)
                    self.forget((kind, namespace or "", name))
                    changes.append(f"{kind}/{name} deleted")
                case Announce():
                    await self._announcer.announce(about, action)
        return changes

    async def _apply(self, manifest: Manifest) -> list[str]:
        kind = kind_of(manifest)
        meta = manifest["metadata"]
        identity = (kind.kind, meta.get("namespace", ""), meta["name"])
        said, shown = hash(to_json(manifest)), self._shown(identity)
        settled = self._settled.get(identity)
        if settled is None or settled.said != said:
            settled = self._settle(identity, _Settled(said, _digest(manifest), None))
        elif shown is not None and settled.shown is shown:
            return []
        made_from = settled.made_from
        manifest = _marked(manifest, made_from)
        meta = manifest["metadata"]
        last = self._applied.get(identity)
        asked = last is not None and last.made_from == made_from
        if kind.kind in WATCHED:
            if last is not None and asked and self._is_on_its_way(kind, last):
                return []
            current = self._observed(identity)
        elif identity in self._looking or (last is not None and asked and self._clock() - last.at < _RESYNC_SECONDS):
            return []  # so it is, or another model of the namespace sees to it now
        else:
            self._looking.add(identity)
            try:
                current = await self._found(kind, meta)
            finally:
                self._looking.discard(identity)
        if current is not None and (
            not drifted(manifest, current)
            or (asked and last is not None and last.answered and not drifted(unpack(last.answered), current))
        ):
            if kind.kind in WATCHED:
                self._settle(identity, settled._replace(shown=shown))
                return []
            after = current
        else:
            after = await self._cluster.apply(manifest)
        answered = pack(like(manifest, after)) if drifted(manifest, after) else None
        version = int(after["metadata"]["resourceVersion"])
        self._applied[identity] = _Applied(self._clock(), version, made_from, answered)
        if current is not None and after["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]:
            return []
        return [f"{kind.kind}/{meta['name']} {'configured' if current else 'applied'}"]

    def _settle(self, identity: Identity, settled: _Settled) -> _Settled:
        if len(self._settled) >= _MOST_SETTLED:
            self._settled.clear()  # they are found to be so once more
        self._settled[identity] = settled
        return settled

    def _is_on_its_way(self, kind: Kind, last: _Applied) -> bool:
        """Whether no watch has shown yet what we wrote last: what is known is from before."""
        return not self._has_seen(kind.kind, last.version) and self._clock() - last.at < _UNSEEN_SECONDS

    async def _found(self, kind: Kind, meta: Object) -> Object | None:
        """Return an object that nobody watches, None where there is none or we may not look."""
        try:
            return await self._cluster.get(kind, meta["name"], meta.get("namespace"))
        except ApiError as error:
            if error.status == 403:  # an installation whose rights are older than its operator
                return None
            raise

    def forget(self, identity: Identity) -> None:
        """Forget what was applied: the object is gone, or about to be."""
        self._applied.pop(identity, None)
        self._settled.pop(identity, None)

    async def write_status(self, key: Key, status: Manifest) -> Object:
        """Replace the part of a model's status that is ours, which is all of it."""
        manifest = {
            "apiVersion": API_VERSION,
            "kind": MODELS.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        return await self._cluster.apply(manifest, subresource="status")


def _digest(manifest: Manifest) -> str:
    return hashlib.blake2b(json.dumps(manifest, sort_keys=True).encode(), digest_size=8).hexdigest()


def _marked(manifest: Manifest, made_from: str) -> Manifest:
    """Return a manifest that says what it was made from.

    What it no longer has is nothing that an object could lack, and only an apply takes it away: a node selector, a
    toleration, a right.
    """
    meta = manifest["metadata"]
    annotations = {**(meta.get("annotations") or {}), MADE_FROM_ANNOTATION: made_from}
    return {**manifest, "metadata": {**meta, "annotations": annotations}}


def drifted(wanted: Any, observed: Any) -> bool:
    """Whether `observed` lacks something that `wanted` says; what others added does not count.

    Lists are compared item by item: in what we write they are either atomic or ours alone.
    """
    if isinstance(wanted, dict):
        if not isinstance(observed, dict):
            return bool(wanted)
        return any(drifted(value, observed.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(observed, list) or len(wanted) > len(observed):
            return bool(wanted)
        return any(drifted(one, other) for one, other in zip(wanted, observed, strict=False))
    return bool(wanted != observed)


def like(wanted: Any, answered: Any) -> Any:
    """Return what `answered` says where `wanted` says something."""
    if isinstance(wanted, dict) and isinstance(answered, dict):
        return {name: like(value, answered.get(name)) for name, value in wanted.items()}
    if isinstance(wanted, list) and isinstance(answered, list):
        return [like(one, other) for one, other in zip(wanted, answered, strict=False)]
    return answered
