"""Fewer inputs for tabular models: the columns that tell most, or the projection that varies most.

Clients go on sending every input. Source: Pearson, "On lines and planes of closest fit", 1901; univariate F-tests.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trimtab.api.compression import ReduceInputs, ReduceMethod
from trimtab.api.conditions import Reason
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.data import Task
from trimtab.workloads.compress.datasets import Array
from trimtab.workloads.compress.inputs import Reduction, fold, insert_reduction
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import inputs_cut
from trimtab.workloads.compress.techniques.channels import cost
from trimtab.workloads.compress.techniques.refit import refitted
from trimtab.workloads.compress.techniques.registry import Context, Model, technique


@technique(ReduceInputs)
def reduce_inputs(step: ReduceInputs, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the network with a first layer that looks at fewer inputs; a training step behind it recovers the rest.

    An estimator of scikit-learn is fitted anew.

    Raises:
        Stalled: DatasetInvalid, the samples are no table, or have no labels to select by. StepFailed, the network does
            not begin with a linear layer. StepHadNoEffect, all inputs are kept, or the projection costs more.
    """
    if context.estimator is not None:
        return refitted(step, model, context)
    network, samples = context.network(model), context.data.training[context.field]
    name, seen = _first_layer(network, tensors_of(samples), context)
    share, selects = fraction(step.components), step.method is ReduceMethod.SELECT_K_BEST
    held: dict[str, Any] = {}
    if selects:
        reduction = _selection(seen, samples.y, context.data.task(context.field), share, context)
    else:
        reduction, held["varianceKept"] = projection(seen, share)
    kept, inputs = reduction.rebuild.shape[1], seen.shape[1]
    reduced = copy.deepcopy(network)
    linear: Any = reduced.get_submodule(name)
    fold(linear, reduction, insert_reduction(reduced, name, kept, selects=selects))
    (macs_before, parameters_before), (macs, parameters) = cost(network, context), cost(reduced, context)
    if parameters >= parameters_before:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"components {step.components} keeps {kept} of {inputs} inputs, and the network has {parameters} weights "
            f"with that instead of {parameters_before}; lower components, or remove the step",
        )
    cut = inputs_cut(name, kept, selects=selects)
    return Model(network=reduced, cuts=(*model.cuts, cut)), {
        "method": step.method,
        "inputsBefore": inputs,
        "inputsAfter": kept,
        **held,
        "parametersBefore": parameters_before,
        "parametersAfter": parameters,
        "macsBefore": macs_before,
        "macsAfter": macs,
    }


def _first_layer(network: nn.Module, inputs: dict[str, Tensor], context: Context) -> tuple[str, Tensor]:
    """Return the name of the linear layer that the inputs enter, scaled at most, and what enters it [N, F]."""
    x = next(iter(inputs.values()))
    if len(inputs) != 1 or x.ndim != 2:
        shape = list(x.shape[1:]) if len(inputs) == 1 else ", ".join(inputs)
        raise context.failed(
            Reason.DATASET_INVALID,
            f"reduces the columns of a table x [samples, inputs], not of {shape}; remove the step",
        )
    called: list[tuple[str, Tensor]] = []

    def note(name: str) -> Any:
        return lambda _layer, given: called.append((name, given[0])) if given else None

    hooks = [
        layer.register_forward_pre_hook(note(name))
        for name, layer in network.named_modules()
        if not any(layer.children()) and any(True for _ in layer.parameters())
    ]
    try:
        with torch.no_grad():
            forward(network, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    entered = [(name, given) for name, given in called if not isinstance(network.get_submodule(name), nn.BatchNorm1d)]
    name, seen = entered[0] if entered else ("none", x)
    layer = network.get_submodule(name) if entered else network
    if not isinstance(layer, nn.Linear) or seen.shape != x.shape:
        raise context.failed(
            Reason.STEP_FAILED,
            f"the inputs enter {name} ({type(layer).__name__}); they can be reduced only where a Linear layer takes "
            f"all {x.shape[1]} of them; remove the step",
        )
    return name, seen


def projection(x: Tensor, share: float) -> tuple[Reduction, float]:
    """Return the main components of standardised inputs that hold a share of their variance, and what they hold."""
    table = x.double()
    mean, spread = table.mean(0), table.std(0, unbiased=False)
    scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    _, sizes, axes = torch.linalg.svd((table - mean) / scale, full_matrices=False)
    held = (sizes.square() / sizes.square().sum().clamp_min(1e-12)).cumsum(0)
    # Rounding must not ask for one component more than there are.
    kept = min(int((held < share - 1e-9).sum()) + 1, len(held))
    view = axes[:kept] / scale
    reduction = Reduction(
        rebuild=(axes[:kept].T * scale[:, None]).float(),
        offset=mean.float(),
        view=view.float(),
        shift=(-view @ mean).float(),
    )
    return reduction, round(float(held[kept - 1]), 4)


def _selection(x: Tensor, y: Array | None, task: Task, share: float, context: Context) -> Reduction:
    """Return the share of inputs with the highest F statistic; the others are taken for their means."""
    from sklearn.feature_selection import f_classif, f_regression

    if y is None or y.ndim != 1:
        raise context.failed(
            Reason.DATASET_INVALID,
            "SelectKBest needs one label y_train per sample to select by; add them, or use method PCA",
        )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of constant inputs, which tell nothing and come last
        scores = (f_classif if task is Task.CLASSES else f_regression)(x.numpy(), y)[0]
    kept = max(1, round(share * x.shape[1]))
    ranked = np.argsort(-np.nan_to_num(scores, nan=-1.0, posinf=np.inf), kind="stable")
    columns = torch.from_numpy(np.sort(ranked[:kept]).copy())
    offset = x.mean(0)
    offset[columns] = 0
    return Reduction(rebuild=torch.eye(x.shape[1])[:, columns], offset=offset, columns=columns)
