"""Volumes: directories that stand for what a pod mounts."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trimtab.local.agent.environment import ConfigError, Sources, field_value
from trimtab.local.objects import Object

Token = Callable[[Sequence[str], int], bytes]
"""Makes a token of the pod's service account, for audiences (none: the API server's) and seconds."""

_TOKEN_S = 3600
_SUPPORTED = "emptyDir, configMap, secret, hostPath, downwardAPI, projected"


def made_volumes(pod: Object, root: Path, sources: Sources, token: Token) -> dict[str, Path]:
    """Create the pod's volumes below `root`; returns where each is.

    `token` makes what a service-account token volume holds. Making a volume again
    refreshes it.

    Raises:
        ConfigError: A source is missing or of a kind that is not supported here.
    """
    places: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        kind = next((k for k in volume if k != "name"), "emptyDir")
        directory = root / name
        if kind == "hostPath":
            places[name] = _host_path(name, volume[kind])
            continue
        directory.mkdir(parents=True, exist_ok=True)
        places[name] = directory
        if kind != "emptyDir":
            _write(directory, _files(kind, volume[kind], name, sources, token))
    return places


def _host_path(name: str, source: Object) -> Path:
    path = Path(source["path"])
    kind = source.get("type") or ""
    if kind == "DirectoryOrCreate":
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"hostPath volume {name!r}: {path} cannot be made on this machine: {error.strerror}"
            raise ConfigError(msg) from error
    elif (kind == "Directory" and not path.is_dir()) or (kind == "File" and not path.is_file()):
        msg = f"hostPath volume {name!r}: {path} is not a {kind.lower()} on this machine"
        raise ConfigError(msg)
    return path


def _files(kind: str, source: Object, name: str, sources: Sources, token: Token) -> dict[str, bytes]:
    match kind:
        case "configMap":
            return _chosen(source, source["name"], sources, secret=False)
        case "secret":
            return _chosen(source, str(source.get("secretName") or source.get("name")), sources, secret=True)
        case "downwardAPI":
            return {
                item["path"]: field_value(item["fieldRef"]["fieldPath"], sources).encode()
                for item in source.get("items") or ()
            }
        case "serviceAccountToken":
            audiences = [source["audience"]] if source.get("audience") else []
            return {source["path"]: token(audiences, source.get("expirationSeconds") or _TOKEN_S)}
        case "projected":
            files: dict[str, bytes] = {}
            for part in source.get("sources") or ():
                inner = next(iter(part))
                files.update(_files(inner, part[inner], name, sources, token))
            return files
    msg = f"volume {name!r}: {kind} is not supported on the embedded cluster; use one of {_SUPPORTED}"
    raise ConfigError(msg)


def _chosen(source: Object, name: str, sources: Sources, *, secret: bool) -> dict[str, bytes]:
    data = sources.secret(name) if secret else sources.config_map(name)
    if data is None:
        if source.get("optional"):
            return {}
        msg = f'{"secret" if secret else "configmap"} "{name}" not found'
        raise ConfigError(msg)
    whole = {k: base64.b64decode(v) if secret else v.encode() for k, v in data.items()}
    if not source.get("items"):
        return whole
    missing = [i["key"] for i in source["items"] if i["key"] not in whole]
    if missing and not source.get("optional"):
        msg = f"references non-existent {'secret' if secret else 'config'} key: {missing[0]}"
        raise ConfigError(msg)
    return {i["path"]: whole[i["key"]] for i in source["items"] if i["key"] in whole}


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.replace(path)  # a reader sees the old or the new content, never half of it
