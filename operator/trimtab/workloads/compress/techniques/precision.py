"""Training in mixed precision: products in BF16, weights and losses in FP32, where that is faster.

Source: Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740; BF16 has FP32's range, so that no loss needs
to be scaled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trimtab.api.compression import Precision
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.techniques.registry import Context

LEAST_MACS = 50_000_000
"""Of a batch: with fewer, turning numbers into BF16 costs more than it saves (AMD EPYC with AVX512_BF16, one thread:
0.6 million 1.5 to 1.9 times FP32's time, 34 million 0.8 to 0.9, 135 million 0.5, 660 million 0.45)."""


def is_mixed(wanted: Precision | None, network: nn.Module, samples: Samples, batch: int, context: Context) -> bool:
    """Decide whether to train in mixed precision; the same for equal networks, batches and kinds of CPU.

    That a step which insists on BF16 is on a CPU that has it was looked at before the run (`preflight`).
    """
    if wanted is Precision.BF16:
        return True
    if wanted is not Precision.AUTO or not context.bf16:
        return False
    return macs_of(network, samples.first(min(batch, len(samples)))) >= LEAST_MACS


def macs_of(network: nn.Module, samples: Samples) -> int:
    """Return the multiply-accumulates of a network for some samples; it is in evaluation mode afterwards."""
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(network, tensors_of(samples))
    return int(counter.get_total_flops()) // 2


def facts_of(*, mixed: bool) -> dict[str, Any]:
    """Return what the report says of a step's precision: nothing of FP32."""
    return {"precision": "BF16"} if mixed else {}
