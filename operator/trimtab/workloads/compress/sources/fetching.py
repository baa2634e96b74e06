"""What kind of model a source holds, told from its file names; nothing of it is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trimtab.api.compression import Source, SourceFormat
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.store import fetch_all, folder_digest, open_store

WEIGHTS = "model.safetensors"
_FIELD = "spec.source.uri"
_SUFFIXES = {SourceFormat.ONNX: ".onnx", SourceFormat.SKLEARN: ".skops", SourceFormat.TORCH_EXPORT: ".pt2"}
_UNSAFE = {
    ".pt": "PyTorch pickle",
    ".pth": "PyTorch pickle",
    ".bin": "PyTorch pickle",
    ".ckpt": "PyTorch pickle",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "pickle",
    ".h5": "Keras",
    ".keras": "Keras",
}


@dataclass(frozen=True, slots=True)
class FetchedSource:
    """A source on this machine's disk."""

    uri: str
    folder: Path
    digest: str
    format: SourceFormat
    """Never Auto."""
    file: Path
    """The model's file; for a folder that is one model, the folder."""
    entrypoint: str = ""
    """module:function of a Python source."""

    @property
    def is_graph(self) -> bool:
        """Whether it cannot be trained."""
        return self.format in {SourceFormat.ONNX, SourceFormat.SKLEARN}

    @property
    def refits(self) -> bool:
        """Whether it is an estimator, which can be fitted anew to fewer inputs."""
        return self.format is SourceFormat.SKLEARN


def fetch_source(source: Source, allow_code: bool, into: Path) -> FetchedSource:
    """Copy a source, check its digest, and tell what it is.

    Raises:
        Stalled: SourceNotFound, SourceInvalid, DigestMismatch, CodeNotAllowed, NotSupported, AccessDenied.
        NotYet: StoreUnreachable.
    """
    if source.format is SourceFormat.PYTHON:
        _require_permission(source, allow_code)  # before anything is copied
    fetch_all(open_store(source.uri, _FIELD), into)
    digest = folder_digest(into)
    if source.digest is not None and source.digest != digest:
        raise Stalled(
            Reason.DIGEST_MISMATCH,
            f"spec.source.digest: expected {source.digest}, but {source.uri} has {digest}; the files changed: set the "
            "digest to the new one, or put the old files back",
        )
    names = sorted(path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file())
    kind = _format(source, names)
    if kind in _SUFFIXES:
        return FetchedSource(source.uri, into, digest, kind, into / _only_one(source, names, _SUFFIXES[kind]))
    if kind is SourceFormat.HUGGING_FACE:
        return FetchedSource(source.uri, into, digest, kind, into)
    _require_permission(source, allow_code)
    return FetchedSource(source.uri, into, digest, kind, into, _entrypoint(source, names))


def _format(source: Source, names: list[str]) -> SourceFormat:
    if source.format is not SourceFormat.AUTO:
        return source.format
    if source.entrypoint is not None:
        return SourceFormat.PYTHON
    for kind, suffix in _SUFFIXES.items():
        if any(name.endswith(suffix) for name in names):
            return kind
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return SourceFormat.HUGGING_FACE
    raise _unknown(source, names)


def _unknown(source: Source, names: list[str]) -> Stalled:
    """Say what to do about files that are no source."""
    for name in names:
        kind = _UNSAFE.get(Path(name).suffix)
        if kind is not None:
            return Stalled(
                Reason.SOURCE_INVALID,
                f"{_FIELD}: {source.uri} holds {name}, a {kind}: loading it can run any code, so it is refused; "
                f"convert it where you trust it, with torch.onnx.export(model, args, 'model.onnx', dynamo=True), or "
                f"save safetensors.torch.save_model(model, '{WEIGHTS}') with the code and set spec.source.entrypoint",
            )
    if WEIGHTS in names:
        return Stalled(
            Reason.SOURCE_INVALID,
            f"spec.source.entrypoint: not set, but {source.uri} holds only weights ({WEIGHTS}); set it to the function "
            "that builds the model, such as model:build",
        )
    return Stalled(
        Reason.SOURCE_INVALID,
        f"{_FIELD}: {source.uri} holds no model (found {_some(names)}); put an .onnx file there, or {WEIGHTS} with the "
        "code that builds the model",
    )


def _only_one(source: Source, names: list[str], suffix: str) -> str:
    found = [name for name in names if name.endswith(suffix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Stalled(
            Reason.SOURCE_INVALID,
            f"{_FIELD}: {source.uri} holds no {suffix} file (found {_some(names)}); put one there, or correct "
            "spec.source.format",
        )
    raise Stalled(
        Reason.SOURCE_INVALID,
        f"{_FIELD}: {source.uri} holds {len(found)} {suffix} files ({_some(found)}); name the one to optimise in the "
        "URI",
    )


def _entrypoint(source: Source, names: list[str]) -> str:
    if source.entrypoint is None:
        raise Stalled(
            Reason.SOURCE_INVALID,
            "spec.source.entrypoint: not set; format Python needs the function that builds the model: model:build",
        )
    if WEIGHTS not in names:
        raise Stalled(
            Reason.SOURCE_INVALID,
            f"{_FIELD}: {source.uri} holds no {WEIGHTS} (found {_some(names)}); save the weights there with "
            "safetensors.torch.save_model",
        )
    return source.entrypoint


def _require_permission(source: Source, allow_code: bool) -> None:
    if not allow_code:
        raise Stalled(
            Reason.CODE_NOT_ALLOWED,
            f"spec.source: {source.uri} runs code when it is loaded, which is not allowed in this namespace; export "
            "the model to ONNX, or ask the platform team to add the namespace to TRIMTAB_ALLOW_CODE_NAMESPACES",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
