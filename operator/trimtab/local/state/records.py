"""What the lines of the state file say, and the state that they add up to.

The first frame is the head: `{"network": N, "version": V, "objects": C}`. C lines follow with the objects at version V,
then one line for each change, with the versions V+1, V+2 and so on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from trimtab.local.objects import Object, key_of
from trimtab.local.state.frames import DamagedError, Frame


@dataclass(slots=True)
class Saved:
    """A state as it was read.

    Attributes:
        network: N of the 127.N.0.0/16 whose addresses the objects name.
        version: the newest resourceVersion.
        objects: by resource, then by namespace and name.
    """

    network: int = 0
    version: int = 0
    objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)


def head(network: int, version: int, objects: int) -> bytes:
    return orjson.dumps({"network": network, "version": version, "objects": objects}) + b"\n"


def put(resource: str, encoded: bytes) -> bytes:
    """An object, as a snapshot has it or as a change left it; `encoded` is its JSON."""
    return b'{"put":"%b","object":%b}\n' % (resource.encode(), encoded)


def removed(resource: str, namespace: str, name: str, version: int) -> bytes:
    found = {"remove": resource, "namespace": namespace, "name": name, "version": version}
    return orjson.dumps(found) + b"\n"


def replayed(frames: Iterable[Frame]) -> Saved:
    """Add up the lines.

    Raises:
        DamagedError: Lines are missing, doubled or not what they should be.
    """
    saved = Saved()
    missing = -1
    end = 0
    for frame in frames:
        for line in frame.payload.removesuffix(b"\n").split(b"\n"):
            try:
                missing = _add(saved, orjson.loads(line), missing)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DamagedError(end, f"a line does not fit: {error}") from None
        end = frame.end
    if missing:
        raise DamagedError(end, "the file has no head" if missing < 0 else f"{missing} objects are missing")
    return saved


def _add(saved: Saved, line: Any, missing: int) -> int:
    """Take one line in; returns how many lines of the snapshot are still to come, -1 before its head."""
    if missing < 0:
        saved.network, saved.version = int(line["network"]), int(line["version"])
        return int(line["objects"])
    resource = line.get("put") or line["remove"]
    objects = saved.objects.setdefault(resource, {})
    if missing:
        objects[key_of(line["object"])] = line["object"]
        return missing - 1
    version = int(line["object"]["metadata"]["resourceVersion"] if "put" in line else line["version"])
    if version != saved.version + 1:
        raise ValueError(f"version {version} follows {saved.version}")
    saved.version = version
    if "put" in line:
        objects[key_of(line["object"])] = line["object"]
    else:
        del objects[line["namespace"], line["name"]]
    return 0
