"""The network: shapes, its beginning, and that it learns."""

import numpy as np
import pytest
import torch

from training.loop import collate
from training.losses import measure_losses
from training.network import OUTPUTS, LungNoduleNet, parameters_of
from training.patches import Patch
from training.targets import Mark, make_targets

SMALL = (8, 12, 16)


@pytest.mark.parametrize("shape", [(64, 64, 96), (48, 64, 64)])
def test_every_output_has_half_the_resolution(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        outputs = LungNoduleNet((8, 8, 8, 8, 8)).eval()(torch.zeros(1, 1, *shape))
    cells = tuple(side // 2 for side in shape)
    assert [tuple(output.shape) for output in outputs] == [(1, c, *cells) for c in OUTPUTS.values()]


def test_an_untrained_network_sees_nodules_nowhere() -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        heat, *_ = LungNoduleNet(SMALL)(torch.randn(2, 1, 32, 32, 32))
    assert float(torch.sigmoid(heat).mean()) < 0.05


def test_the_network_of_the_first_package_has_a_million_weights() -> None:
    assert parameters_of(LungNoduleNet((16, 32, 48, 64, 96))) == pytest.approx(1.0e6, rel=0.05)


def test_half_precision_changes_little_and_gives_finite_gradients() -> None:
    torch.manual_seed(2)
    network = LungNoduleNet(SMALL).eval()
    volume = torch.randn(1, 1, 32, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(volume)
    exact = network(volume)
    assert float((rough[0].float() - exact[0]).detach().abs().max()) < 0.1
    sum(output.float().square().mean() for output in rough).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.slow
def test_it_learns_where_a_ball_lies_and_how_large_it_is() -> None:
    """A bright ball of random place and size in noise; no other cue."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    side = 32
    grid = np.indices((side,) * 3).transpose(1, 2, 3, 0)

    def patch() -> tuple[Patch, Mark]:
        centre = tuple(float(c) for c in rng.uniform(8, 24, 3))
        mark = Mark((centre[0], centre[1], centre[2]), float(rng.uniform(6, 14)))
        mask = np.linalg.norm(grid - centre, axis=-1) <= mark.diameter_mm / 2 / 1.25
        volume = rng.normal(-0.8, 0.1, mask.shape) + 0.9 * mask
        return Patch(volume[None].astype(np.float32), make_targets(mask, [mark], 1.25)), mark

    network = LungNoduleNet(SMALL)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(260):
        batch = collate([patch()[0] for _ in range(4)])
        losses = measure_losses(network(batch["volume"]), batch)
        optimiser.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
    # The median of many: a short run's worst ball depends on the order of a sum.
    away, grown, dice = [], [], []
    for _ in range(15):
        made, mark = patch()
        with torch.no_grad():
            heat, offset, log_diameter, mask = network(torch.from_numpy(made.volume[None]))
        cell = np.unravel_index(int(heat.argmax()), heat.shape[2:])
        centre = 2 * np.array(cell) + 0.5 + offset[(0, slice(None), *cell)].numpy()
        away.append(np.linalg.norm(centre - mark.centre_zyx))
        diameter_mm = 8 * np.exp(float(log_diameter[(0, 0, *cell)]))
        grown.append(abs(diameter_mm / mark.diameter_mm - 1))
        truth = torch.from_numpy(made.targets.mask[None]) > 0
        both = int(((mask > 0) & truth).sum())
        dice.append(2 * both / (int((mask > 0).sum()) + int(truth.sum())))
    assert np.median(away) < 1.5
    assert np.median(grown) < 0.2
    assert np.median(dice) > 0.75
