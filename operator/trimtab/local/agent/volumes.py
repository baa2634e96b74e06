"""Volumes: directories that stand for what a pod mounts."""

from __future__ import annotations

import base64
import itertools
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from trimtab.local import pods
from trimtab.local.agent.environment import ConfigError, MountError, Sources, field_value, resource_value
from trimtab.local.agent.projection import File, project
from trimtab.local.objects import Object

Token = Callable[[Sequence[str], int], bytes]
"""Makes a token of the pod's service account, for audiences (none: the API server's) and seconds."""

_TOKEN_S = 3600
_MODE = 0o644
_SUPPORTED = ("emptyDir", "configMap", "secret", "hostPath", "downwardAPI", "projected")
_HOST_TYPES = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}
_names = itertools.count()


def made_volumes(pod: Object, root: Path, sources: Sources, token: Token) -> dict[str, Path]:
    """Create the pod's volumes below `root`; returns where each is. Making them again refreshes them.

    `token` makes what a service-account token volume holds.

    Raises:
        ConfigError: A volume is of a kind that is not supported here.
        MountError: A source is missing.
    """
    places: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        kind = next((k for k in volume if k != "name"), "emptyDir")
        if kind not in _SUPPORTED:
            msg = (
                f"volume {name!r}: {kind} is not supported on the embedded cluster; use one of {', '.join(_SUPPORTED)}"
            )
            raise ConfigError(msg)
        try:
            places[name] = _made(kind, volume[kind], root / name, sources, token)
        except MountError:
            raise
        except ConfigError as error:
            raise MountError(name, str(error)) from error
    return places


def followed_sources(pod: Object) -> frozenset[tuple[str, str]]:
    """What the pod's volumes follow while it runs: ("configmaps", NAME), ("secrets", NAME), ("pods", "") for itself."""
    found: set[tuple[str, str]] = set()
    for volume in pod["spec"].get("volumes") or ():
        for kind, source in volume.items():
            parts = source.get("sources") or () if kind == "projected" else ({kind: source},)
            for part in parts:
                found.update(_followed(*next(iter(part.items()))))
    return frozenset(found)


def _followed(kind: str, source: Object) -> Iterator[tuple[str, str]]:
    if kind == "configMap":
        yield "configmaps", source["name"]
    elif kind == "secret":
        yield "secrets", str(source.get("secretName") or source.get("name"))
    elif kind == "downwardAPI":
        paths = [(item.get("fieldRef") or {}).get("fieldPath", "") for item in source.get("items") or ()]
        if any(path.startswith(("metadata.labels", "metadata.annotations")) for path in paths):
            yield "pods", ""


def _made(kind: str, source: Object, directory: Path, sources: Sources, token: Token) -> Path:
    if kind == "hostPath":
        return _host_path(source)
    directory.mkdir(parents=True, exist_ok=True)
    if kind != "emptyDir":
        project(directory, _files(kind, source, source.get("defaultMode") or _MODE, sources, token), f"v{next(_names)}")
    return directory


def _host_path(source: Object) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    try:
        if kind == "DirectoryOrCreate" and not path.exists():
            path.mkdir(parents=True)
        elif kind == "FileOrCreate" and not path.exists():
            path.touch()
    except OSError as error:
        msg = f"hostPath {path} cannot be made on this machine: {error.strerror}"
        raise ConfigError(msg) from error
    if kind:
        fits, name = _HOST_TYPES[kind.removesuffix("OrCreate")]
        if not path.exists() or not fits(path.stat().st_mode):
            msg = f"hostPath type check failed: {path} is not a {name}"
            raise ConfigError(msg)
    return path


def _files(kind: str, source: Object, mode: int, sources: Sources, token: Token) -> dict[str, File]:
    """The files of a source, by path inside the volume."""
    match kind:
        case "configMap":
            return _chosen(source, source["name"], mode, sources, secret=False)
        case "secret":
            return _chosen(source, str(source.get("secretName") or source.get("name")), mode, sources, secret=True)
        case "downwardAPI":
            return {
                _inside(item["path"]): (_said(item, sources).encode(), item.get("mode") or mode)
                for item in source.get("items") or ()
            }
        case "serviceAccountToken":
            audiences = [source["audience"]] if source.get("audience") else []
            text = token(audiences, source.get("expirationSeconds") or _TOKEN_S)
            return {_inside(source["path"]): (text, mode)}
        case "projected":
            files: dict[str, File] = {}
            for part in source.get("sources") or ():
                inner = next(iter(part))
                files.update(_files(inner, part[inner], mode, sources, token))
            return files
    msg = f"projected source {kind} is not supported on the embedded cluster"
    raise ConfigError(msg)


def _said(item: Object, sources: Sources) -> str:
    """One item of the downward API."""
    if reference := item.get("resourceFieldRef"):
        name = reference.get("containerName")
        everything = (*pods.containers(sources.pod), *pods.init_containers(sources.pod))
        container = next((c for c in everything if c["name"] == name), None)
        if container is None:
            msg = f'container "{name}" not found'
            raise ConfigError(msg)
        return resource_value(reference, container, sources)
    return field_value(item["fieldRef"]["fieldPath"], sources)


def _chosen(source: Object, name: str, mode: int, sources: Sources, *, secret: bool) -> dict[str, File]:
    data = sources.secret(name) if secret else sources.config_map(name)
    optional = bool(source.get("optional"))
    if data is None:
        if optional:
            return {}
        msg = f'{"secret" if secret else "configmap"} "{name}" not found'
        raise ConfigError(msg)
    whole = {k: base64.b64decode(v) if secret else v.encode(errors="surrogateescape") for k, v in data.items()}
    items = source.get("items")
    if not items:
        return {key: (content, mode) for key, content in whole.items()}
    missing = [i["key"] for i in items if i["key"] not in whole]
    if missing and not optional:
        msg = f"references non-existent {'secret' if secret else 'config'} key: {missing[0]}"
        raise ConfigError(msg)
    return {_inside(i["path"]): (whole[i["key"]], i.get("mode") or mode) for i in items if i["key"] in whole}


def _inside(path: str) -> str:
    """A path that stays in its volume. Raises ConfigError."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        msg = f"path {path!r} leaves the volume; it must be relative and without '..'"
        raise ConfigError(msg)
    return str(pure)
