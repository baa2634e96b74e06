"""Engines that a spec may ask for."""

from __future__ import annotations

import pytest

from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.planning.runs import run_key
from trimtab.planning.support import refusals

OPENVINO = {"steps": [{"compile": {"engine": "OpenVino"}}, {"quantize": {"scheme": "INT8"}}]}
SEARCH = {"search": {"objective": "Latency"}}


def found(compression, engine):
    spec = OptimizedModelSpec.model_validate(
        {
            "source": {"uri": "s3://models/digits"},
            "compression": compression,
            "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}},
            "serving": {"engine": engine},
        }
    )
    return [str(refusal) for refusal in refusals(spec) if refusal.field == "spec.serving.engine"]


@pytest.mark.parametrize(
    ("compression", "engine"),
    [
        ({"preset": "Fast"}, "Auto"),
        ({"preset": "Fast"}, "OnnxRuntime"),
        ({"preset": "Fast"}, "OpenVino"),
        (OPENVINO, "Auto"),
        (OPENVINO, "OpenVino"),
        (SEARCH, "OnnxRuntime"),
    ],
)
def test_an_engine_that_fits_is_taken(compression, engine):
    """Auto always fits; presets and searches keep to what is asked for."""
    assert found(compression, engine) == []


@pytest.mark.parametrize(
    ("compression", "engine", "message"),
    [
        (
            {"preset": "None"},
            "OpenVino",
            "OpenVino for a model compiled for OnnxRuntime is not supported by this version; use Auto, or compression",
        ),
        (OPENVINO, "OnnxRuntime", "OnnxRuntime for a model compiled for OpenVino is not supported by this version"),
        ({"preset": "Fast"}, "Torch", "Torch "),
        (SEARCH, "OpenVino", "OpenVino with a search is not supported by this version; use Auto or OnnxRuntime: "),
    ],
)
def test_an_engine_that_the_model_is_not_for_is_refused_before_the_run(compression, engine, message):
    """A run of an hour should not end in a pod that cannot serve its result."""
    (refusal,) = found(compression, engine)
    assert refusal.startswith(f"spec.serving.engine: {message}")


def test_the_engine_is_part_of_the_key_where_a_recipe_is_found_for_it(make):
    """Another engine is another recipe of a preset or a search; steps say themselves what they compile for."""

    def keys(compression, *engines):
        specs = [make.spec(compression=compression, serving={"engine": engine}) for engine in engines]
        return [run_key(spec, "file:///a") for spec in specs]

    assert len(set(keys({"preset": "Fast"}, "Auto", "OnnxRuntime", "OpenVino"))) == 3
    assert len(set(keys(SEARCH, "Auto", "OnnxRuntime"))) == 2
    assert len(set(keys(OPENVINO, "Auto", "OpenVino"))) == 1
    unset = run_key(make.spec(compression={"preset": "Fast"}), "file:///a")
    assert keys({"preset": "Fast"}, "Auto") == [unset]
