"""What a wrong answer costs: focal loss for heat, L1 for place and size, BCE and Dice for masks.

The heat loss is the penalty-reduced focal loss of CornerNet and CenterNet (Law and Deng 2018,
section 3.2; Zhou et al. 2019, equation 1). The mask's losses count only in the boxes around
nodules, plus a mean over everything else, because nodules are 0.3 % of the voxels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FOCUS = 2.0
PENALTY = 4.0
# Weights of the parts in the sum. Offsets are in voxels and sizes in ln units.
OFFSET_WEIGHT = 0.3
SIZE_WEIGHT = 1.0
# Of the mean cross-entropy outside all boxes.
OUTSIDE_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts, as scalars; :attr:`total` is what is minimised."""

    heat: Tensor
    offset: Tensor
    log_diameter: Tensor
    mask: Tensor
    dice: Tensor

    @property
    def total(self) -> Tensor:
        """The weighted sum."""
        place = OFFSET_WEIGHT * self.offset + SIZE_WEIGHT * self.log_diameter
        return self.heat + place + self.mask + self.dice


def measure_losses(outputs: tuple[Tensor, ...], targets: dict[str, Tensor]) -> Losses:
    """Compare the network's outputs with the targets.

    Parameters
    ----------
    outputs
        As :class:`training.network.LungNoduleNet` returns them: heat, offset, log diameter, mask.
    targets
        The fields of :class:`training.targets.Targets` by name, with a batch axis in front.
    """
    heat, offset, log_diameter, mask = (output.float() for output in outputs)
    near = targets["near"]
    cells = near.sum().clamp(min=1)
    boxes = targets["mask_boxes"]
    inside, outside = (boxes > 0).float(), (boxes == 0).float()
    wrong = functional.binary_cross_entropy_with_logits(mask, targets["mask"], reduction="none")
    within = (wrong * inside).sum() / inside.sum().clamp(min=1)
    beyond = (wrong * outside).sum() / outside.sum().clamp(min=1)
    return Losses(
        heat=heat_loss(heat, targets["heat"], targets["heat_counts"]),
        offset=((offset - targets["offset"]).abs().sum(1, keepdim=True) * near).sum() / cells,
        log_diameter=((log_diameter - targets["log_diameter"]).abs() * near).sum() / cells,
        mask=within + OUTSIDE_WEIGHT * beyond,
        dice=_dice_loss(torch.sigmoid(mask) * inside, targets["mask"] * inside, inside),
    )


def heat_loss(logits: Tensor, heat: Tensor, counts: Tensor) -> Tensor:
    """Return the focal loss, summed over cells and divided by the number of centres (at least one).

    Parameters
    ----------
    logits, heat, counts
        (batch, 1, z, y, x); ``counts`` is 0 where a cell must not matter.
    """
    log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    yes = torch.exp(log_yes)
    is_centre = (heat >= 1).float() * counts
    hit = -((1 - yes) ** FOCUS) * log_yes * is_centre
    false = -((1 - heat) ** PENALTY) * yes**FOCUS * log_no * (counts - is_centre)
    return (hit.sum() + false.sum()) / is_centre.sum().clamp(min=1)


def _dice_loss(share: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Mean of 1 - Dice over the patches that have a nodule in a box; 0 when none has."""
    axes = tuple(range(1, share.dim()))
    both = 2 * (share * truth).sum(axes)
    either = share.sum(axes) + truth.sum(axes)
    has_nodule = ((truth * inside).sum(axes) > 0).float()
    lost = 1 - (both + 1) / (either + 1)
    return (lost * has_nodule).sum() / has_nodule.sum().clamp(min=1)
