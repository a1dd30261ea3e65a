"""What a wrong answer costs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.loop import collate
from training.losses import heat_loss, measure_losses
from training.patches import Patch
from training.targets import Mark, make_targets

SHAPE = (16, 16, 16)


def batch_of(*marks: Mark, mask: np.ndarray | None = None) -> dict[str, Tensor]:
    inside = np.zeros(SHAPE, bool) if mask is None else mask
    targets = make_targets(inside, marks, 1.25)
    return collate([Patch(np.zeros((1, *SHAPE), np.float32), targets)])


def answers(batch: dict[str, Tensor], sure: float = 12.0) -> tuple[Tensor, ...]:
    """What a perfect network would say."""
    heat = torch.where(batch["heat"] >= 1, sure, -sure)
    mask = torch.where(batch["mask"] > 0, sure, -sure)
    return heat, batch["offset"], batch["log_diameter"], mask


MARK = Mark((8.0, 8.0, 8.0), 6.0)
BALL = np.linalg.norm(np.indices(SHAPE).transpose(1, 2, 3, 0) - 8.0, axis=-1) <= 2.4


def test_right_answers_cost_almost_nothing() -> None:
    batch = batch_of(MARK, mask=BALL)
    assert float(measure_losses(answers(batch), batch).total) < 0.01


def test_an_empty_patch_has_finite_losses_and_asks_for_cold_heat() -> None:
    batch = batch_of()
    cold = measure_losses(answers(batch), batch)
    outputs = tuple(torch.zeros_like(output) for output in answers(batch))
    warm = measure_losses(outputs, batch)
    assert float(cold.total) < 0.01 < float(warm.heat)
    assert torch.isfinite(warm.total)
    assert float(warm.offset) == float(warm.log_diameter) == 0


def test_a_false_alarm_in_an_ignored_region_costs_nothing() -> None:
    batch = batch_of(Mark((8.0, 8.0, 8.0), 6.0, is_ignored=True))
    heat, *rest = answers(batch)
    heat = torch.where(batch["heat_counts"] == 0, 12.0, heat)
    assert float(measure_losses((heat, *rest), batch).heat) < 1e-3


def test_a_false_alarm_beside_a_centre_costs_less_than_one_far_away() -> None:
    batch = batch_of(MARK)
    (_, _, z, y, x) = np.argwhere(batch["heat"].numpy() == 1)[0]
    costs = []
    for cell in ((z, y, x + 1), (0, 0, 0)):
        heat = answers(batch)[0].clone()
        heat[(0, 0, *cell)] = 2.0
        costs.append(float(heat_loss(heat, batch["heat"], batch["heat_counts"])))
    assert costs[0] < costs[1] / 2


def test_saying_no_mask_at_all_costs_a_whole_dice() -> None:
    batch = batch_of(MARK, mask=BALL)
    heat, offset, log_diameter, mask = answers(batch)
    losses = measure_losses((heat, offset, log_diameter, torch.full_like(mask, -12.0)), batch)
    assert float(losses.dice) == pytest.approx(1.0, abs=0.05)
    assert float(losses.mask) > 0.1


def test_logits_of_any_size_give_finite_losses_and_gradients() -> None:
    batch = batch_of(MARK, mask=BALL)
    for size in (-1e4, 1e4):
        outputs = tuple(torch.full_like(o, size).requires_grad_() for o in answers(batch))
        total = measure_losses(outputs, batch).total
        total.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(total)
        assert all(torch.isfinite(o.grad).all() for o in outputs if o.grad is not None)
