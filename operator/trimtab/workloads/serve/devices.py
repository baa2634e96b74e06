"""Devices that this image's engines can use: asked before anything takes its time, and again as a model is loaded."""

from __future__ import annotations

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

CUDA = "CUDAExecutionProvider"
SUFFIXES = {Device.GPU: ".onnx", Device.NPU: ".xml"}
"""What runs there: ONNX Runtime on GPUs, OpenVINO on NPUs; everything on CPUs."""
_IMAGES = "spec.compression.job.image and spec.serving.image"


def require_device(device: Device) -> None:
    """Check that an engine of this image runs on a device. Whether the pod has one is seen when a model is loaded.

    Raises:
        Stalled: NotSupported, none does.
    """
    if device is Device.GPU:
        _require_cuda()
    elif device is Device.NPU:
        _require_npu()
    elif device is not Device.CPU:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"spec.compression.target.device: {device}, but no engine of this image runs on one; set "
            "spec.serving.image to an image with the runtime of the device",
        )


def _require_cuda() -> None:
    import onnxruntime

    found = onnxruntime.get_available_providers()
    if CUDA not in found:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"spec.compression.target.device: GPU, but ONNX Runtime {onnxruntime.__version__} in this image has only "
            f"{', '.join(found)}; set {_IMAGES} to images with onnxruntime-gpu in the place of onnxruntime",
        )


def _require_npu() -> None:
    import openvino

    found = openvino.Core().available_devices
    if not any(name.partition(".")[0] == "NPU" for name in found):
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"spec.compression.target.device: NPU, but OpenVINO {openvino.__version__} finds only {', '.join(found)} "
            f"in this pod; set {_IMAGES} to images with the NPU's driver, and spec.serving.accelerator to what "
            "brings the device into pods",
        )
