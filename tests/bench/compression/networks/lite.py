"""EfficientNet-Lite0, as its package builds it, for photos of 128x128; the package lies beside this file."""

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

CLASSES, SIDE = 22, 128
# What the published weights were trained with.
MEAN, SCALE = 127.0, 128.0


class Photos(nn.Module):
    """Takes pixels as they are: uint8 [N, 3, 128, 128]; returns logits [N, 22]."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0", num_classes=CLASSES, image_size=SIDE)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network((pixels.to(torch.float32) - MEAN) / SCALE)


def build() -> nn.Module:
    return Photos()
