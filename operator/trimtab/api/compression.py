"""Where a model comes from and how it is made smaller: source, preset, steps, search."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self, TypeVar

from pydantic import ConfigDict, Field, model_validator

from trimtab.api.base import ApiModel, DnsName, Resources, SecretRef, Uri, rules
from trimtab.api.quantities import DecimalString, Duration, Percent

Entrypoint = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=253)]
LayerPattern = Annotated[str, Field(min_length=1, max_length=253)]
T = TypeVar("T", bound=ApiModel)
TECHNIQUES = ("prune", "quantize", "distill", "cluster", "finetune", "reduceInputs", "compile")
STEP_RULE = "[" + ", ".join(f"has(self.{name})" for name in TECHNIQUES) + "].filter(x, x).size() == 1"
STEP_MESSAGE = f"a step takes exactly one of {', '.join(TECHNIQUES)}"
CHOICE_RULE = "[has(self.preset), has(self.steps), has(self.search)].filter(x, x).size() == 1"
CHOICE_MESSAGE = "compression takes exactly one of preset, steps, search"


class SourceFormat(StrEnum):
    """How the model is stored."""

    AUTO = "Auto"
    ONNX = "Onnx"
    HUGGING_FACE = "HuggingFace"
    SKLEARN = "Sklearn"
    PYTHON = "Python"
    TORCH_EXPORT = "TorchExport"

    @property
    def runs_code(self) -> bool:
        """Whether loading such a model executes code that came with it."""
        return self is SourceFormat.PYTHON


class Source(ApiModel):
    """The model to optimise."""

    uri: Uri
    """A file or folder: file:///models/digits, s3://models/digits/v3."""
    format: SourceFormat = SourceFormat.AUTO
    """How it is stored; Auto looks at the files. Python runs code: the platform must allow it."""
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)] | None = None
    """Expected digest; a source that differs is refused. A new digest asks for a new run."""
    entrypoint: Entrypoint | None = None
    """For format Python: module:function in the source's folder, returning the module that model.safetensors fits."""
    secret_ref: SecretRef | None = None
    """Credentials for source, data sets and output, as environment variables."""


class PruneMethod(StrEnum):
    """What pruning removes: single weights, whole channels or whole layers."""

    MAGNITUDE = "Magnitude"
    STRUCTURED = "Structured"
    LAYERS = "Layers"


class PruneSchedule(StrEnum):
    """All at once, or step by step during training."""

    ONE_SHOT = "OneShot"
    GRADUAL = "Gradual"


class Scope(StrEnum):
    """Whether layers compete for the budget or each takes its share."""

    GLOBAL = "Global"
    PER_LAYER = "PerLayer"


class Prune(ApiModel):
    """Remove what matters least."""

    method: PruneMethod | None = None
    """Structured (the default) removes whole channels, so that the model gets smaller and faster."""
    sparsity: Percent
    """Share to remove: 50%."""
    schedule: PruneSchedule | None = None
    """OneShot unless said otherwise."""
    scope: Scope | None = None
    """PerLayer unless said otherwise."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """With schedule Gradual: passes over the training data after the last stage, 4 unless set; others have one each."""


class Scheme(StrEnum):
    """Number formats of a quantized model."""

    INT8 = "INT8"
    INT8_DYNAMIC = "INT8Dynamic"
    INT8_WEIGHT_ONLY = "INT8WeightOnly"
    INT4_WEIGHT_ONLY = "INT4WeightOnly"
    FP16 = "FP16"
    BF16 = "BF16"
    HYBRID = "Hybrid"


class QuantizeMethod(StrEnum):
    """Whether weights adapt to quantization by training."""

    POST_TRAINING = "PostTraining"
    QUANTIZATION_AWARE = "QuantizationAware"


class Calibration(ApiModel):
    """Samples that tell the value ranges."""

    uri: Uri | None = None
    """A data set; unless set, the train split of the guardrail's, never the samples that the guardrail judges on."""
    samples: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many; 128 unless set."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Which ones; 0 unless set."""


class Quantize(ApiModel):
    """Store and compute in fewer bits."""

    scheme: Scheme
    """INT8: weights and activations, calibrated."""
    method: QuantizeMethod | None = None
    """PostTraining unless said otherwise."""
    calibration: Calibration | None = None
    """Where the value ranges come from."""
    keep: Annotated[list[LayerPattern], Field(max_length=64)] | None = None
    """Layers left as they are, as shell patterns over node names."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """With method QuantizationAware: passes over the training data; 5 unless set."""


ENTRYPOINT_MESSAGE = "entrypoint builds the network at uri; set uri as well, or remove it"


class Student(ApiModel):
    """The smaller network that learns; exactly one of width, depth, uri."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.width), has(self.depth), has(self.uri)].filter(x, x).size() == 1",
                "a student takes exactly one of width, depth, uri",
            ),
            ("!has(self.entrypoint) || has(self.uri)", ENTRYPOINT_MESSAGE),
        )
    )
    width: Percent | None = None
    """Channels kept in each layer of the teacher."""
    depth: Percent | None = None
    """Layers kept."""
    uri: Uri | None = None
    """A network of the user's own: a Hugging Face folder, or Python code with model.safetensors."""
    entrypoint: Entrypoint | None = None
    """For Python code: module:function in the student's folder, returning the module that model.safetensors fits."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.entrypoint is not None and self.uri is None:
            raise ValueError(ENTRYPOINT_MESSAGE)
        return exactly_one(self, ("width", "depth", "uri"), "a student takes exactly one of width, depth, uri")


class HintPair(ApiModel):
    """Two layers whose outputs should agree."""

    teacher: LayerPattern
    """Layer of the teacher."""
    student: LayerPattern
    """Layer of the student."""


class Precision(StrEnum):
    """Number formats of training: BF16 is mixed precision, whose weights and losses stay FP32."""

    AUTO = "Auto"
    FP32 = "FP32"
    BF16 = "BF16"


class Distill(ApiModel):
    """Train the smaller model on the original's predictions."""

    student: Student | None = None
    """Unless set, the model as the steps before left it."""
    dataset: Uri | None = None
    """Training data; unless set, the train split of the guardrail's data set."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Passes over the training data; 10 unless set."""
    temperature: DecimalString | None = None
    """Softness of the teacher's predictions; 2 unless set."""
    alpha: DecimalString | None = None
    """Weight of the teacher against the labels, 0 to 1; 0.7 unless set."""
    hints: Annotated[list[HintPair], Field(max_length=32)] | None = None
    """Internal representations to match as well."""
    precision: Precision | None = None
    """FP32 unless set; Auto trains in BF16 where the CPU has it and batches are large enough to gain by it."""
    learning_rate: DecimalString | None = None
    """Step size of AdamW; 0.004 unless set, 0.0003 for networks with attention."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Samples per step; 64 unless set, 32 for networks with attention."""


class Cluster(ApiModel):
    """Share weights: each becomes one of a few values."""

    clusters: Annotated[int, Field(ge=2, le=256)]
    """Values per codebook."""
    scope: Scope | None = None
    """One codebook per layer, or one for all."""


class Augment(StrEnum):
    """Random changes to training images."""

    ROTATE = "Rotate"
    CROP = "Crop"
    FLIP = "Flip"


class Finetune(ApiModel):
    """Train on, to recover what compression lost."""

    dataset: Uri | None = None
    """Training data; unless set, the train split of the guardrail's data set."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Passes over the training data; 5 unless set."""
    learning_rate: DecimalString | None = None
    """Step size of AdamW; 0.001 unless set."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Samples per step; 64 unless set."""
    precision: Precision | None = None
    """FP32 unless set; Auto trains in BF16 where the CPU has it and batches are large enough to gain by it."""
    augment: Annotated[list[Augment], Field(max_length=3)] | None = None
    """Random changes to images [channels, height, width]: up to 15 degrees, crops of 80% and more, mirroring."""


class ReduceMethod(StrEnum):
    """How inputs are made fewer."""

    PCA = "PCA"
    SELECT_K_BEST = "SelectKBest"


class ReduceInputs(ApiModel):
    """Fewer inputs for tabular models."""

    method: ReduceMethod
    """Projection or selection."""
    components: Percent
    """Share of the variance (PCA) or of the inputs (SelectKBest) to keep."""


class CompileEngine(StrEnum):
    """What the model is compiled for."""

    ONNX_RUNTIME = "OnnxRuntime"
    OPEN_VINO = "OpenVino"
    AOT_INDUCTOR = "AotInductor"


class Compile(ApiModel):
    """Compile for an engine."""

    engine: CompileEngine
    """The engine that will serve it."""


class Step(ApiModel):
    """One step of a recipe: exactly one technique."""

    model_config = ConfigDict(json_schema_extra=rules((STEP_RULE, STEP_MESSAGE)))
    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | None = None
    """Shown in progress and report; the technique's name unless set."""
    prune: Prune | None = None
    """Remove weights, channels or layers."""
    quantize: Quantize | None = None
    """Fewer bits."""
    distill: Distill | None = None
    """Learn from the original."""
    cluster: Cluster | None = None
    """Share weights."""
    finetune: Finetune | None = None
    """Train on."""
    reduce_inputs: ReduceInputs | None = None
    """Fewer inputs."""
    compile: Compile | None = None
    """Compile for an engine."""

    @model_validator(mode="after")
    def _one_technique(self) -> Self:
        return exactly_one(self, _STEP_FIELDS, STEP_MESSAGE)

    @property
    def technique(self) -> str:
        """Return the API name of the technique that is set."""
        field = next(field for field in _STEP_FIELDS if getattr(self, field) is not None)
        return "reduceInputs" if field == "reduce_inputs" else field

    @property
    def title(self) -> str:
        return self.name or self.technique


class Preset(StrEnum):
    """None only exports, Fast quantizes, Balanced and Smallest also prune what can learn and let it recover."""

    NONE = "None"
    FAST = "Fast"
    BALANCED = "Balanced"
    SMALLEST = "Smallest"


class Objective(StrEnum):
    """What a search makes best."""

    LATENCY = "Latency"
    SIZE = "Size"
    THROUGHPUT = "Throughput"


class Strategy(StrEnum):
    """How a search walks the space."""

    BAYESIAN = "Bayesian"
    GRID = "Grid"
    RANDOM = "Random"


class Search(ApiModel):
    """Find the best recipe under the guardrail."""

    objective: Objective
    """What to make best: the latency of one sample, bytes, or the time of a batch of 32."""
    strategy: Strategy | None = None
    """Bayesian unless said otherwise: presets and cheap recipes, short trainings, shares in between, then a model's."""
    trials: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Recipes to try at most, besides exporting alone; 24 unless set."""
    timeout: Duration | None = None
    """Time for finding it at most: a trial in flight is stopped, and the best so far wins; 25m unless set."""
    space: Annotated[list[Step], Field(max_length=32)] | None = None
    """Steps to combine, in order, each or not; shares and clusters also at 0.5 and 1.5 times. Ours unless set."""
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """Compare recipes on so many parts of the training split in turn; else on samples that the source has not seen."""


class Device(StrEnum):
    """Where the model will run."""

    CPU = "CPU"
    GPU = "GPU"
    TPU = "TPU"
    NPU = "NPU"
    FPGA = "FPGA"


class Target(ApiModel):
    """What the model is optimised for."""

    device: Device = Device.CPU
    """What serves the model, and judges it: CPU, GPU with CUDA, NPU with OpenVINO; FPGA, TPU by your own image."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of one replica; its CPU limit unless set."""


class JobOptions(ApiModel):
    """How the compression Job runs."""

    pool: DnsName | None = None
    """CapacityPool whose nodes run it; any node unless set."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Compression image; the operator's default unless set."""
    deadline: Duration = "2h"
    """The Job is ended after this time."""
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    """Attempts after the first; input errors are not retried."""
    resources: Resources | None = None
    """Of the Job's pod; 1 CPU and 2Gi requested unless set."""


class Output(ApiModel):
    """Where artifacts go."""

    uri: Uri
    """A folder; each artifact gets its own below it."""


class Compression(ApiModel):
    """How the model is made smaller: exactly one of preset, steps, search."""

    model_config = ConfigDict(json_schema_extra=rules((CHOICE_RULE, CHOICE_MESSAGE)))
    preset: Preset | None = None
    """A recipe that we chose."""
    steps: Annotated[list[Step], Field(min_length=1, max_length=16)] | None = None
    """A recipe of the user's own, in order."""
    search: Search | None = None
    """Let Trimtab find the recipe."""
    target: Target = Target()
    """What the model is optimised for."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Pods that share the training, each with the resources of the Job; a batch stays as large as it was."""
    job: JobOptions = JobOptions()
    """How the Job runs."""
    output: Output | None = None
    """Where artifacts go; the operator's default unless set."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        return exactly_one(self, ("preset", "steps", "search"), CHOICE_MESSAGE)


_STEP_FIELDS = ("prune", "quantize", "distill", "cluster", "finetune", "reduce_inputs", "compile")


def exactly_one(model: T, fields: tuple[str, ...], message: str) -> T:
    """Return `model` when one of `fields` is set.

    Raises:
        ValueError: None is set, or several are; the message says which.
    """
    given = [type(model).model_fields[field].alias or field for field in fields if getattr(model, field) is not None]
    if len(given) != 1:
        raise ValueError(f"{message}; {'none' if not given else ' and '.join(given)} given")
    return model
