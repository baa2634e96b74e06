"""Sources that are code and weights: module:function builds the network, model.safetensors fits it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from trimtab.workloads.compress.network import first_line, invalid_source
from trimtab.workloads.compress.sources.fetching import WEIGHTS


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let a source's modules be imported, and forget them at the end."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def load_network(folder: Path, entrypoint: str, uri: str) -> nn.Module:
    """Build the network and load its weights; the folder is importable already.

    Raises:
        Stalled: SourceInvalid, naming the module, function or weights at fault.
    """
    network = _built(folder, entrypoint, uri)
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise invalid_source(f"{uri}: {WEIGHTS} cannot be read ({error}); save it again") from None
    _require_same_keys(network.state_dict(), weights, entrypoint)
    network.load_state_dict(weights)
    return network.float().eval()


def _built(folder: Path, entrypoint: str, uri: str) -> nn.Module:
    module_name, _, function = entrypoint.partition(":")
    relative = Path(*module_name.split("."))
    if not (folder / relative.with_suffix(".py")).is_file() and not (folder / relative / "__init__.py").is_file():
        raise invalid_source(f"{uri}: {relative}.py does not exist; put it there, or correct spec.source.entrypoint")
    top = module_name.partition(".")[0]
    if top in sys.stdlib_module_names or _installed_elsewhere(top, folder):
        raise invalid_source(f"{entrypoint}: a module named {top} is installed already; rename the file")
    try:
        build = getattr(importlib.import_module(module_name), function)
        network = build()
    except AttributeError as error:
        if error.name != function:
            raise invalid_source(f"{entrypoint} failed ({first_line(error)}); run it where you can see it") from error
        raise invalid_source(f"{entrypoint}: {relative}.py has no {function}; correct spec.source.entrypoint") from None
    except Exception as error:
        raise invalid_source(
            f"{entrypoint} failed ({type(error).__name__}: {first_line(error)}); run it where you can see it"
        ) from error
    if not isinstance(network, nn.Module):
        raise invalid_source(f"{entrypoint} returned {type(network).__name__}; it must return a torch.nn.Module")
    return network


def _installed_elsewhere(name: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(folder)


def _require_same_keys(wanted: dict[str, Any], found: dict[str, Any], entrypoint: str) -> None:
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    misfits = [
        f"{key} {list(found[key].shape)} instead of {list(wanted[key].shape)}"
        for key in sorted(wanted.keys() & found.keys())
        if wanted[key].shape != found[key].shape
    ]
    faults = [
        f"{what} {', '.join(keys[:5])}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        for what, keys in (("missing", missing), ("not in the network:", unknown), ("of another shape:", misfits))
        if keys
    ]
    if faults:
        raise invalid_source(
            f"{WEIGHTS} does not fit {entrypoint}: {'; '.join(faults)}; save the weights of this very network"
        )
