"""From files to a network that can be trained, or a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto
from torch import nn

from trimtab.api.compression import SourceFormat
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.graph import read_source_graph
from trimtab.workloads.compress.sources import huggingface, python, sklearn, torchexport
from trimtab.workloads.compress.sources.fetching import FetchedSource


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """A model: either a network or a graph."""

    network: nn.Module | None = None
    graph: ModelProto | None = None
    free: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Dimensions of a network's inputs that take any size, besides the first."""
    estimator: Any = None
    """What the graph came from, where that is scikit-learn."""

    @property
    def required_network(self) -> nn.Module:
        if self.network is None:
            raise TypeError("this source is a graph")
        return self.network


def load_source(fetched: FetchedSource, samples: Samples, owned: ExitStack) -> LoadedSource:
    """Load a source; `samples` tell the form of its inputs, `owned` ends what has to live as long as the model.

    Raises:
        Stalled: SourceInvalid, naming what is wrong.
    """
    match fetched.format:
        case SourceFormat.ONNX:
            return LoadedSource(graph=read_source_graph(fetched.file, fetched.folder, fetched.uri))
        case SourceFormat.SKLEARN:
            estimator = sklearn.read_estimator(fetched.file, fetched.uri)
            return LoadedSource(graph=sklearn.graph_of(estimator, fetched.uri, samples), estimator=estimator)
        case SourceFormat.HUGGING_FACE:
            network, free = huggingface.load_folder(fetched.folder, fetched.uri)
            return LoadedSource(network=network, free=free)
        case SourceFormat.TORCH_EXPORT:
            return LoadedSource(network=torchexport.load_archive(fetched.file, fetched.uri))
        case _:
            owned.enter_context(python.importable(fetched.folder))
            return LoadedSource(network=python.load_network(fetched.folder, fetched.entrypoint, fetched.uri))
