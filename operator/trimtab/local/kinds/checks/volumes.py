"""What is wrong with the volumes of a pod and with where its containers mount them."""

from trimtab.local.kinds.checks.references import field_reference_errors, resource_reference_errors
from trimtab.local.kinds.checks.values import (
    choice_errors,
    invalid_all,
    label_errors,
    mode_errors,
    no_backsteps_errors,
    projected_path_errors,
    relative_path_errors,
)
from trimtab.local.objects import Object, quote
from trimtab.local.quantities import quantity
from trimtab.local.statuses import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported

_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
# What a volume's file may tell about its pod.
_FILE_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")


def volumes_errors(volumes: list[Object], at: str) -> tuple[list[FieldError], dict[str, Object]]:
    """What is wrong, and the volumes that can be mounted."""
    errors: list[FieldError] = []
    usable: dict[str, Object] = {}
    for index, volume in enumerate(volumes):
        where = f"{at}[{index}]"
        name = volume.get("name", "")
        found = _source_errors(volume, where)
        if not name:
            found.append(required(f"{where}.name"))
        else:
            found += label_errors(name, f"{where}.name")
        if name in usable:
            found.append(duplicate(f"{where}.name", quote(name)))
        if not found:
            usable[name] = volume
        errors += found
    return errors, usable


def _source_errors(volume: Object, at: str) -> list[FieldError]:
    sources = [name for name in volume if name != "name" and volume[name] is not None]
    if not sources:
        return [required(at, "must specify a volume type")]
    errors = [forbidden_field(f"{at}.{name}", "may not specify more than 1 volume type") for name in sources[1:]]
    name, source = sources[0], volume[sources[0]]
    where = f"{at}.{name}"
    match name:
        case "emptyDir" if "sizeLimit" in source and quantity(source["sizeLimit"]) < 0:
            text = "SizeLimit field must be a valid resource quantity"
            errors.append(forbidden_field(f"{where}.sizeLimit", text))
        case "hostPath":
            errors += _host_path_errors(source, where)
        case "configMap" | "secret":
            key = "name" if name == "configMap" else "secretName"
            errors += [] if source.get(key) else [required(f"{where}.{key}")]
            errors += mode_errors(source, where) + _items_errors(source.get("items") or [], f"{where}.items")
        case "persistentVolumeClaim" if not source.get("claimName"):
            errors.append(required(f"{where}.claimName"))
        case "nfs":
            errors += _nfs_errors(source, where)
        case "downwardAPI":
            errors += mode_errors(source, where)
            errors += [e for item in source.get("items") or [] for e in _file_errors(item, where)]
        case "projected":
            errors += mode_errors(source, where) + _projected_errors(source, where)
    return errors


def _host_path_errors(source: Object, at: str) -> list[FieldError]:
    if not source.get("path"):
        return [required(f"{at}.path")]
    errors = no_backsteps_errors(source["path"], f"{at}.path")
    kind = source.get("type") or ""
    if kind not in _HOST_PATH_TYPES:
        errors.append(unsupported(f"{at}.type", quote(kind), [quote(k) for k in _HOST_PATH_TYPES]))
    return errors


def _nfs_errors(source: Object, at: str) -> list[FieldError]:
    errors = [required(f"{at}.{name}") for name in ("server", "path") if not source.get(name)]
    if not str(source.get("path") or "").startswith("/"):
        errors.append(invalid_value(f"{at}.path", quote(source.get("path") or ""), "must be an absolute path"))
    return errors


def _items_errors(items: list[Object], at: str) -> list[FieldError]:
    errors = []
    for index, item in enumerate(items):
        where = f"{at}[{index}]"
        errors += [required(f"{where}.{name}") for name in ("key", "path") if not item.get(name)]
        errors += projected_path_errors(item.get("path") or "", f"{where}.path")
        errors += mode_errors(item, where, "mode")
    return errors


def _file_errors(item: Object, at: str) -> list[FieldError]:
    errors = [] if item.get("path") else [required(f"{at}.path")]
    errors += projected_path_errors(item.get("path") or "", f"{at}.path")
    if item.get("fieldRef") is not None:
        errors += field_reference_errors(item["fieldRef"], f"{at}.fieldRef", _FILE_FIELDS)
        if item.get("resourceFieldRef") is not None:
            text = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid_value(at, '"resource"', text))
    elif item.get("resourceFieldRef") is not None:
        errors += resource_reference_errors(item["resourceFieldRef"], f"{at}.resourceFieldRef", in_volume=True)
    else:
        errors.append(required(at, "one of fieldRef and resourceFieldRef is required"))
    return errors + mode_errors(item, at, "mode")


def _projected_errors(source: Object, at: str) -> list[FieldError]:
    errors = []
    for index, part in enumerate(source.get("sources") or []):
        where = f"{at}.sources[{index}]"
        kinds = [name for name in part if part[name] is not None]
        for name in ("secret", "configMap"):
            if name in kinds:
                inner = part[name]
                errors += [] if inner.get("name") else [required(f"{where}.{name}.name")]
                errors += _items_errors(inner.get("items") or [], f"{where}.{name}.items")
        if "downwardAPI" in kinds:
            files = part["downwardAPI"].get("items") or []
            errors += [e for item in files for e in _file_errors(item, f"{where}.downwardAPI")]
        if "serviceAccountToken" in kinds:
            errors += _token_errors(part["serviceAccountToken"], f"{where}.serviceAccountToken")
        if len(kinds) > 1:
            errors.append(forbidden_field(where, "may not specify more than 1 volume type"))
        if not kinds:
            errors.append(required(where, "must specify a volume type"))
    return errors


def _token_errors(token: Object, at: str) -> list[FieldError]:
    errors = []
    seconds = token.get("expirationSeconds", 3600)
    if seconds < 600:
        text = "may not specify a duration less than 10 minutes"
        errors.append(invalid_value(f"{at}.expirationSeconds", str(seconds), text))
    if seconds > 1 << 32:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid_value(f"{at}.expirationSeconds", str(seconds), text))
    if not token.get("path"):
        return [*errors, required(f"{at}.path")]
    return errors + relative_path_errors(token["path"], f"{at}.path")


def mounts_errors(container: Object, volumes: dict[str, Object], at: str) -> list[FieldError]:
    """Every mount has a volume and a place of its own."""
    errors = []
    places: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        where = f"{at}[{index}]"
        name, path = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.append(required(f"{where}.name"))
        if name not in volumes:
            errors.append(FieldError(f"{where}.name", "FieldValueNotFound", f"Not found: {quote(name)}"))
        if not path:
            errors.append(required(f"{where}.mountPath"))
        if path in places:
            errors.append(invalid_value(f"{where}.mountPath", quote(path), "must be unique"))
        places.add(path)
        errors += _sub_path_errors(mount, at, where)
        if mount.get("mountPropagation") is not None:
            errors += choice_errors(mount["mountPropagation"], f"{at}.mountPropagation", _PROPAGATION)
    return errors


def _sub_path_errors(mount: Object, at: str, where: str) -> list[FieldError]:
    errors = []
    if mount.get("subPath"):
        errors += relative_path_errors(mount["subPath"], f"{at}.subPath")
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            text = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid_value(f"{where}.subPathExpr", quote(mount["subPathExpr"]), text))
        errors += relative_path_errors(mount["subPathExpr"], f"{at}.subPathExpr")
    return errors


def device_errors(container: Object, volumes: dict[str, Object], at: str) -> list[FieldError]:
    """Devices need a claim behind them."""
    errors = []
    for index, device in enumerate(container.get("volumeDevices") or []):
        where, name = f"{at}[{index}]", device.get("name", "")
        if not name:
            errors.append(required(f"{where}.name"))
        if name not in volumes:
            errors.append(FieldError(f"{where}.name", "FieldValueNotFound", f"Not found: {quote(name)}"))
        elif not {"persistentVolumeClaim", "ephemeral"} & volumes[name].keys():
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors += invalid_all(f"{where}.name", name, [text])
        if not device.get("devicePath"):
            errors.append(required(f"{where}.devicePath"))
    return errors
