"""Fewer inputs for estimators of scikit-learn: they are fitted anew to what is left, with their own parameters."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from trimtab.api.compression import ReduceInputs, ReduceMethod
from trimtab.api.conditions import Reason
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.sources.sklearn import graph_of
from trimtab.workloads.compress.techniques.registry import Context, Model

_TABLE = 2
"""Dimensions of samples that an estimator takes."""


def refitted(step: ReduceInputs, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the graph of a pipeline that reduces its inputs and feeds an unfitted copy of the source, fitted together.

    PCA is of standardised inputs, as for networks. Where the estimator draws random numbers without a seed, it gets the
    step's.

    Raises:
        Stalled: DatasetInvalid, no table or no labels to fit to. StepHadNoEffect, every input is kept. StepFailed, the
            copy cannot be fitted.
    """
    samples = context.data.training[context.field]
    x = next(iter(samples.inputs.values()))
    if samples.y is None or samples.y.ndim != 1 or x.ndim != _TABLE:
        raise context.failed(
            Reason.DATASET_INVALID,
            "fits the estimator anew, which needs a table x_train [samples, inputs] and one label y_train for each; "
            "add them, or remove the step",
        )
    pipeline = _pipeline(step, context.estimator, x.shape[1], classes=np.issubdtype(samples.y.dtype, np.integer))
    _seed(pipeline, context.seed)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of constant columns and of solvers that want more turns
            pipeline.fit(x, samples.y)
    except ValueError as error:
        raise context.failed(
            Reason.STEP_FAILED, f"the estimator cannot be fitted to x_train and y_train ({error}); remove the step"
        ) from error
    kept = pipeline[-2].get_feature_names_out().size
    if kept >= x.shape[1]:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"components {step.components} keeps {kept} of {x.shape[1]} inputs; lower components, or remove the step",
        )
    target = context.folder / f"refitted-{context.seed}.onnx"
    write_graph(graph_of(pipeline, context.field, samples), target)
    return Model(graph=target), {
        "method": step.method,
        "inputsBefore": x.shape[1],
        "inputsAfter": kept,
        "refitted": type(context.estimator).__name__,
        "samples": len(samples),
        "bytesBefore": context.graph(model).stat().st_size,
    }


def _pipeline(step: ReduceInputs, estimator: Any, inputs: int, *, classes: bool) -> Any:
    from sklearn.base import clone
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import SelectKBest, f_classif, f_regression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    share = fraction(step.components)
    if step.method is ReduceMethod.SELECT_K_BEST:
        kept = max(1, round(share * inputs))
        return make_pipeline(SelectKBest(f_classif if classes else f_regression, k=kept), clone(estimator))
    wanted = share if share < 1 else None  # a whole one would mean one component
    return make_pipeline(StandardScaler(), PCA(wanted, svd_solver="full"), clone(estimator))


def _seed(pipeline: Any, seed: int) -> None:
    drawn = {
        name: seed
        for name, value in pipeline.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    pipeline.set_params(**drawn)
