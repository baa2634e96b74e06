"""What the pod offers, for people: an OpenAPI document, and a page that needs nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from trimtab.version import __version__
from trimtab.workloads.serve.datatypes import NUMPY_TYPES, zeros
from trimtab.workloads.serve.model import Model

_MOST_SHOWN = 1024  # elements of an example, which can be tried as it stands; nobody reads an image's
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "datatype": {"type": "string", "enum": list(NUMPY_TYPES)},
        "data": {"type": "array", "description": "Row-major, flat or nested; not where it follows in binary form."},
        "parameters": {
            "type": "object",
            "properties": {"binary_data_size": {"type": "integer"}, "binary_data": {"type": "boolean"}},
        },
    },
}
_SCHEMAS: dict[str, Any] = {
    "Tensor": _TENSOR,
    "Request": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {
                "type": "object",
                "properties": {
                    "timeout": {"type": "integer", "description": "Microseconds that the client waits."},
                    "binary_data_output": {"type": "boolean"},
                },
            },
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
    },
    "Answer": {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
    },
    "Error": {"type": "object", "properties": {"error": {"type": "string"}}},
}
_ERRORS = {
    "400": "The request does not fit the model.",
    "413": "The body is too large.",
    "429": "This client's share of the queue is full.",
    "503": "The pod is full, or the model not loaded; try again.",
    "504": "The request's own time was over before it ran.",
}


def document(models: Sequence[Model]) -> dict[str, Any]:
    """Return the OpenAPI document of a pod."""
    paths: dict[str, Any] = {
        "/v2": _read("Server metadata"),
        "/v2/health/live": _read("Whether the process works"),
        "/v2/health/ready": _read("Whether all models can be asked"),
        "/metrics": _read("Numbers for Prometheus"),
        "/v2/repository/index": {"post": {"summary": "Models and their state", "responses": _ok("A list.")}},
    }
    for name in dict.fromkeys(model.name for model in models):
        newest = [model for model in models if model.name == name][-1]
        paths[f"/v2/models/{name}"] = _read("Inputs, outputs and versions")
        paths[f"/v2/models/{name}/ready"] = _read("Whether the model can be asked")
        paths[f"/v2/models/{name}/infer"] = {"post": _inference(newest)}
        for act in ("load", "unload"):
            summary = f"{act.capitalize()} the model, where the pod lets clients"
            paths[f"/v2/repository/models/{name}/{act}"] = {"post": {"summary": summary, "responses": _ok("Done.")}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trimtab", "version": __version__, "description": "Open Inference Protocol, version 2."},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def page(models: Sequence[Model]) -> bytes:
    """Return a page with every path and a request to try for each model."""
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, operations in document(models)["paths"].items()
        for method, operation in operations.items()
    )
    examples = "".join(
        f"<h2>{html.escape(model.name)} <small>{html.escape(model.revision)}</small></h2>"
        f"<pre>curl -H 'Content-Type: application/json' \\\n"
        f"  -d '{html.escape(json.dumps(example(model)))}' \\\n"
        f"  http://HOST/v2/models/{html.escape(model.name)}/infer</pre>"
        for model in models
        if model.spec is not None
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Trimtab</title><style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}"
        "td{padding:.2rem 1rem .2rem 0;vertical-align:top}pre{overflow:auto;padding:1rem;background:#8881}</style>"
        f"<h1>Trimtab {__version__}</h1><p>Open Inference Protocol, version 2; <a href=openapi.json>OpenAPI</a>.</p>"
        f"<table>{rows}</table>{examples}</html>"
    ).encode()


def example(model: Model) -> dict[str, Any]:
    """Return a request of zeros, one row with every free size 1; nothing for a model that is not known yet."""
    if model.spec is None:
        return {}
    inputs = []
    for tensor in model.spec.inputs:
        shape = [1 if size == -1 else size for size in tensor.shape]
        array = zeros(tensor.datatype, tuple(shape))
        data = array.tolist() if array.size <= _MOST_SHOWN else ["…"]
        inputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data})
    return {"inputs": inputs}


def _inference(model: Model) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}, "example": example(model)}
    errors = {
        status: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for status, text in _ERRORS.items()
    }
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    return {
        "summary": "Ask the model",
        "parameters": [
            {
                "name": "Request-Timeout",
                "in": "header",
                "description": "Seconds that the client waits.",
                "schema": {"type": "number"},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"200": {"description": "Outputs.", "content": answer}, **errors},
    }


def _read(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _ok("As asked.")}}


def _ok(text: str) -> dict[str, Any]:
    return {"200": {"description": text}}
