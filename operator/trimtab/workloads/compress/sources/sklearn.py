"""scikit-learn models: read by skops, which builds only types that it knows to be safe, and turned into ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import first_line, invalid_source

# Arrays in a type of its own, which skops does not list as safe. It takes no more nodes from a file than are there, and
# only the converter reads them.
_TREE = "sklearn.tree._tree.Tree"
_TYPES = {"float32": "FloatTensorType", "float64": "DoubleTensorType", "int64": "Int64TensorType"}


def graph_of(estimator: Any, uri: str, samples: Samples) -> ModelProto:
    """Return an estimator as a graph: probabilities of the classes, or the numbers that it predicts.

    Raises:
        Stalled: SourceInvalid, it cannot be converted.
    """
    if len(samples.inputs) != 1:
        raise invalid_source(f"{uri}: an estimator takes one table x, not {', '.join(samples.inputs)}")
    x = next(iter(samples.inputs.values()))
    return _converted(estimator, uri, x)


def read_estimator(path: Path, uri: str) -> Any:
    """Return the estimator that a skops file holds.

    Raises:
        Stalled: SourceInvalid, the file holds types that could run code, or is none.
    """
    from skops.io import get_untrusted_types, load

    try:
        unknown = sorted(set(get_untrusted_types(file=path)) - {_TREE})
    except Exception as error:
        raise invalid_source(
            f"{uri}: {path.name} is no skops file ({first_line(error)}); save it with skops.io.dump"
        ) from error
    if unknown:
        raise invalid_source(
            f"{uri}: {path.name} holds types that could run code ({', '.join(unknown[:5])}); use estimators of "
            "scikit-learn itself, or export the model to ONNX"
        )
    try:
        return load(path, trusted=[_TREE])
    except Exception as error:
        raise invalid_source(f"{uri}: {path.name} cannot be read ({first_line(error)}); save it again") from error


def _converted(estimator: Any, uri: str, x: np.ndarray[Any, Any]) -> ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types
    from sklearn.base import is_classifier

    if x.ndim != 2 or str(x.dtype) not in _TYPES:
        raise invalid_source(f"{uri}: an estimator takes a table of numbers, not {x.dtype} {list(x.shape[1:])}")
    kind = getattr(data_types, _TYPES[str(x.dtype)])
    options = {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    try:
        model: ModelProto = convert_sklearn(
            estimator,
            name="estimator",  # a random one unless set
            initial_types=[("x", kind([None, x.shape[1]]))],
            options=options,
            target_opset={"": 20, "ai.onnx.ml": 3},
        )
    except Exception as error:
        raise invalid_source(
            f"{uri}: {type(estimator).__name__} cannot be turned into ONNX ({first_line(error)}); export it yourself"
        ) from error
    if is_classifier(estimator):
        _probabilities_first(model)
    return model


def _probabilities_first(model: ModelProto) -> None:
    """Put the scores before the label: the first output is what a model says."""
    outputs = sorted(model.graph.output, key=lambda value: value.type.tensor_type.shape.dim.__len__() != 2)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
