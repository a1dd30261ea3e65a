r"""The detector's network: a small encoder and decoder of MONAI convolutions with a stride-2 stem.

::

    volume (1) --/2-- 16 --------------------------(+)-- 16 -- head, offset, diameter, mask
                       \--/2-- 32 ---------------(+)--/
                                 \--/2-- 48 ----(+)--/
                                           \--/2-- 64 -(+)/
                                                     \--/2-- 96

Each level is two 3x3x3 convolutions with BatchNorm and ReLU; the way up is nearest upsampling, a
1x1x1 convolution and an addition. BatchNorm folds into the convolutions and does not look at the
window, so a patch and a whole lung box are treated alike. Axes are (z, y, x) throughout.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional

# The names and channels of the outputs, in the order in which the ONNX file gives them.
OUTPUTS: dict[str, int] = {"heat": 1, "offset": 3, "log_diameter": 1, "mask": 8}
STRIDE = 2

# Where the heat map starts: sigmoid(-5) = 0.7 %, so that the many empty cells do not swamp the
# first steps.
HEAT_BIAS = -5.0


def _block(channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> Convolution:
    return Convolution(
        spatial_dims=3,
        in_channels=channels_in,
        out_channels=channels_out,
        strides=stride,
        kernel_size=kernel,
        adn_ordering="NA",
        act="RELU",
        norm="BATCH",
        bias=False,
    )


class LungNoduleNet(nn.Module):
    """Heat map, offset, size and mask of nodules at half of the input's resolution.

    Parameters
    ----------
    widths
        Channels of the levels, finest first; the first level has half of the input's resolution,
        each further one half of that before it.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        ins = (1, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_block(before, width, stride=2), _block(width, width))
            for before, width in zip(ins, widths, strict=True)
        )
        self.across = nn.ModuleList(_block(low, high, kernel=1) for high, low in pairwise(widths))
        self.up = nn.ModuleList(_block(width, width) for width in widths[:-1])
        self.heads = nn.ModuleDict(
            {name: nn.Conv3d(widths[0], channels, 1) for name, channels in OUTPUTS.items()}
        )
        heat = self.heads["heat"]
        assert isinstance(heat, nn.Conv3d)
        assert heat.bias is not None
        nn.init.constant_(heat.bias, HEAT_BIAS)

    def forward(self, volume: Tensor) -> tuple[Tensor, ...]:
        """Run the network.

        Parameters
        ----------
        volume
            float (batch, 1, z, y, x), HU mapped to -1..1; sides a multiple of the total stride, or
            in training of half of it.

        Returns
        -------
        (batch, channels, z/2, y/2, x/2) for each name of :data:`OUTPUTS`, in that order: heat
        logits; offset in input voxels (z, y, x) from the cell's centre; ln(diameter / 8 mm); mask
        logits, channel dz*4 + dy*2 + dx.
        """
        levels = []
        features = volume
        for step in self.down[:-1]:
            features = step(features)
            levels.append(features)
        # In bfloat16 oneDNN 3.12 now and then gave NaN as the weight gradient of this level's last
        # convolution, on 2x2x2 voxels (docs/training.md); float32 here costs nothing measurable.
        with torch.autocast("cpu", enabled=False):
            levels.append(self.down[-1](features.float()))
        features = levels[-1]
        for level in range(len(levels) - 2, -1, -1):
            finer = levels[level]
            coarse = self.across[level](features)
            features = self.up[level](finer + functional.interpolate(coarse, size=finer.shape[2:]))
        return tuple(self.heads[name](features) for name in OUTPUTS)


def parameters_of(network: nn.Module) -> int:
    """Return how many numbers the network has to learn."""
    return sum(parameter.numel() for parameter in network.parameters())
