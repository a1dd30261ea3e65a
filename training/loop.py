"""The loop: batches in, a trained network out; stops at a checkpoint whenever it is asked to."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from training import checkpoint as checkpoints
from training.backgrounds import Background
from training.checkpoint import Checkpoint
from training.losses import Losses, measure_losses
from training.patches import Insert, Patch, PatchRecipe, make_patch
from training.targets import Targets

Batch = dict[str, Tensor]
# Of the learning rate's way up at the start, in steps: BatchNorm's statistics must settle first.
WARM_UP_STEPS = 100
# The largest length of a gradient; single wild patches must not throw the network.
LARGEST_GRADIENT = 5.0
# Share of the highest learning rate that is left at the end.
LOWEST_RATE_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How a run is trained; every field stands in the configuration and in the card.

    Attributes
    ----------
    steps
        Of the whole run.
    seconds
        Budget of training time of the whole run; the learning rate falls with whichever of the two
        is used up faster. None: no limit.
    """

    steps: int
    seconds: float | None
    batch: int
    learning_rate: float
    weight_decay: float
    average_decay: float
    is_bfloat16: bool
    checkpoint_steps: int


class Batches(Dataset[Batch]):
    """Batch number n, made from the seed and n alone."""

    def __init__(
        self,
        backgrounds: Sequence[Background],
        shares: Sequence[float],
        recipe: PatchRecipe,
        insert: Insert,
        *,
        settings: LoopSettings,
        seed: int,
    ) -> None:
        self._backgrounds, self._shares = backgrounds, shares
        self._recipe, self._insert = recipe, insert
        self._settings, self._seed = settings, seed

    def __len__(self) -> int:
        return self._settings.steps

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng((self._seed, number))
        patches = [
            make_patch(self._backgrounds, self._shares, self._recipe, self._insert, rng)
            for _ in range(self._settings.batch)
        ]
        return collate(patches)


def collate(patches: Sequence[Patch]) -> Batch:
    """Return the patches' volumes under ``volume`` and their targets by name, stacked."""
    batch = {"volume": torch.from_numpy(np.stack([patch.volume for patch in patches]))}
    for target in fields(Targets):
        values = [getattr(patch.targets, target.name) for patch in patches]
        batch[target.name] = torch.from_numpy(np.stack(values))
    return batch


@dataclass(frozen=True, slots=True)
class Report:
    """Means over the steps since the last report."""

    step: int
    done: float
    trained_s: float
    learning_rate: float
    losses: dict[str, float]


def learning_rate_at(step: int, done: float, highest: float) -> float:
    """Return the rate: linear up, then half a cosine down.

    Parameters
    ----------
    step
        Steps done.
    done
        Share of the run that is done, 0..1.
    """
    lowest = LOWEST_RATE_SHARE * highest
    cosine = lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return cosine * min(1.0, (step + 1) / WARM_UP_STEPS)


def train_network(
    network: nn.Module,
    batches: Batches,
    settings: LoopSettings,
    path: Path,
    *,
    configuration_sha256: str,
    mlflow_run: str,
    resumed: Checkpoint | None,
    workers: int,
    report: Callable[[Report], None],
    report_steps: int = 25,
) -> bool:
    """Train until the run is done, its budget is used up, or the process is asked to stop.

    Parameters
    ----------
    network
        Trained in place; ``resumed`` replaces its weights.
    path
        Of the checkpoint, written every ``checkpoint_steps`` and at the end.
    workers
        Processes that make patches; 0 makes them in this one.
    report
        Called every ``report_steps`` steps.

    Returns
    -------
    Whether the run is complete; False after SIGTERM or SIGINT.
    """
    average, optimiser = _learners(network, settings, resumed)
    step, trained_s = (resumed.step, resumed.trained_s) if resumed else (0, 0.0)
    means = _Means()

    def write() -> None:
        state = Checkpoint(
            step,
            trained_s,
            configuration_sha256,
            mlflow_run,
            network.state_dict(),
            average.state_dict(),
            optimiser.state_dict(),
        )
        checkpoints.write(state, path)

    def say(rate: float) -> None:
        done = share_done(step, trained_s, settings)
        report(Report(step, done, trained_s, rate, means.take()))

    rate = 0.0
    with _stop_asked() as is_asked:
        began = time.monotonic()
        for batch in _loaded(batches, step, workers):
            done = share_done(step, trained_s, settings)
            if done >= 1 or is_asked():
                break
            rate = learning_rate_at(step, done, settings.learning_rate)
            means.add(_take_step(network, optimiser, batch, rate, settings.is_bfloat16))
            average.update_parameters(network)
            step += 1
            now = time.monotonic()
            trained_s, began = trained_s + now - began, now
            if step % report_steps == 0:
                say(rate)
            if step % settings.checkpoint_steps == 0:
                write()
    write()
    if means.count:
        say(rate)
    return share_done(step, trained_s, settings) >= 1


@dataclass(slots=True)
class _Means:
    """Means of the losses since they were last taken."""

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def take(self) -> dict[str, float]:
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def _learners(
    network: nn.Module, settings: LoopSettings, resumed: Checkpoint | None
) -> tuple[AveragedModel, torch.optim.Optimizer]:
    """Make network, moving average and optimiser ready, as new or as they were."""
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.train()
    average = AveragedModel(
        network, multi_avg_fn=_towards(settings.average_decay), use_buffers=True
    )
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    if resumed is not None:
        network.load_state_dict(resumed.network)
        average.load_state_dict(resumed.average)
        optimiser.load_state_dict(resumed.optimiser)
    return average, optimiser


def share_done(step: int, trained_s: float, settings: LoopSettings) -> float:
    """Return how much of the run is done, by steps or by time, whichever is more."""
    by_time = trained_s / settings.seconds if settings.seconds else 0.0
    return max(step / settings.steps, by_time)


def _towards(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return a moving average's rule; it forgets the first, random weights quickly."""

    def move(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)

    return move


def _take_step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
    is_bfloat16: bool,
) -> dict[str, float]:
    for group in optimiser.param_groups:
        group["lr"] = rate
    volume = batch["volume"].to(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
        outputs = network(volume)
    losses = measure_losses(outputs, batch)
    total = losses.total
    if not torch.isfinite(total):
        # A run that goes on after this would end as a package of NaN.
        raise FloatingPointError("the loss is not finite; lower the learning rate")
    optimiser.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    length = nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
    # One gradient that overflowed must not end a night's run, and must not go unseen: the step is
    # left out, and the curve counts it.
    is_skipped = not bool(torch.isfinite(length))
    if not is_skipped:
        optimiser.step()
    values = {part.name: float(getattr(losses, part.name).detach()) for part in fields(Losses)}
    return {"total": float(total.detach()), **values, "skipped": float(is_skipped)}


def _loaded(batches: Batches, first: int, workers: int) -> Iterator[Batch]:
    """Batches from ``first`` on, in order, made ahead by ``workers`` processes."""
    ahead = 4 if workers else None
    loader = DataLoader(
        batches, batch_size=None, sampler=range(first, len(batches)),
        num_workers=workers, prefetch_factor=ahead, worker_init_fn=_one_thread if workers else None,
    )  # fmt: skip
    return iter(loader)


def _one_thread(worker: int) -> None:
    """Keep a worker to one thread, and deaf to the signals that ask the run to stop."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _stop_asked() -> Iterator[Callable[[], bool]]:
    """Remember SIGTERM and SIGINT instead of dying of them: the step in work is finished."""
    asked = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
