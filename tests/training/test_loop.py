"""The loop and its checkpoints: it stops when asked, goes on where it stopped, and ends."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from firstread.errors import ConfigurationError
from tests.training.test_patches import PREPROCESSING, a_background, nothing
from training import checkpoint as checkpoints
from training.checkpoint import Checkpoint
from training.loop import (
    Batches,
    LoopSettings,
    Report,
    learning_rate_at,
    share_done,
    train_network,
)
from training.network import LungNoduleNet
from training.patches import PatchRecipe

RECIPE = PatchRecipe((32, 32, 32), 0.5, 20.0, PREPROCESSING)
WIDTHS = (4, 4, 4, 4, 4)


def settings(
    steps: int = 6, seconds: float | None = None, checkpoint_steps: int = 3
) -> LoopSettings:
    return LoopSettings(
        steps, seconds, 2, 1e-3, 0.01, 0.9, is_bfloat16=False, checkpoint_steps=checkpoint_steps
    )


def train(
    path: Path, chosen: LoopSettings, reports: list[Report], *, resumed: Checkpoint | None = None,
    ask_after: int | None = None,
) -> bool:  # fmt: skip
    torch.manual_seed(1)
    batches = Batches([a_background()], [1.0], RECIPE, nothing, settings=chosen, seed=7)

    def report(said: Report) -> None:
        reports.append(said)
        if said.step == ask_after:
            os.kill(os.getpid(), signal.SIGTERM)

    return train_network(
        LungNoduleNet(WIDTHS), batches, chosen, path, configuration_sha256="c", mlflow_run="r",
        resumed=resumed, workers=0, report=report, report_steps=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, list[Report]]:
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    reports: list[Report] = []
    assert train(path, settings(), reports)
    return checkpoints.read(path), reports


def test_a_run_takes_every_step_and_says_so(whole: tuple[Checkpoint, list[Report]]) -> None:
    checkpoint, reports = whole
    assert checkpoint.step == 6
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(report.losses["total"]) for report in reports)


def test_a_stopped_and_resumed_run_ends_with_the_same_weights(
    whole: tuple[Checkpoint, list[Report]], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    assert not train(path, settings(), [], ask_after=2)
    stopped = checkpoints.read(path)
    assert stopped.step == 2
    assert train(path, settings(), [], resumed=stopped)
    again = checkpoints.read(path)
    for name in ("network", "average"):
        for key, value in getattr(whole[0], name).items():
            torch.testing.assert_close(getattr(again, name)[key], value, rtol=0, atol=0)


@pytest.mark.slow
def test_a_budget_of_time_ends_a_run_early(tmp_path: Path) -> None:
    reports: list[Report] = []
    assert train(tmp_path / "checkpoint.pt", settings(10_000, seconds=0.2), reports)
    assert 1 <= len(reports) < 1000


def test_the_signals_are_as_they_were_after_a_run(whole: object) -> None:
    assert signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.Handlers.SIG_DFL)


def test_a_checkpoint_of_another_configuration_is_refused(
    whole: tuple[Checkpoint, list[Report]], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.write(whole[0], path)
    assert checkpoints.read(path, "c").step == 6
    with pytest.raises(ConfigurationError, match="another configuration"):
        checkpoints.read(path, "d")


def test_nothing_to_resume_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no checkpoint"):
        checkpoints.read(tmp_path / "checkpoint.pt")


def test_an_interrupted_write_leaves_the_old_checkpoint(
    whole: tuple[Checkpoint, list[Report]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.write(whole[0], path)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        checkpoints.write(whole[0], path)
    assert checkpoints.read(path).step == 6


def test_a_checkpoint_takes_the_place_of_the_old_one_in_one_move(
    whole: tuple[Checkpoint, list[Report]], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.write(whole[0], path)
    with path.open("rb") as old:
        before = old.read()
        checkpoints.write(replace(whole[0], step=7), path)
        old.seek(0)
        assert old.read() == before
    assert checkpoints.read(path).step == 7


def test_the_rate_rises_then_falls_to_a_hundredth() -> None:
    rates = [learning_rate_at(step, step / 1000, 1.0) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates.index(max(rates)) < 150
    assert rates[-1] == pytest.approx(0.01)


def test_whichever_is_used_up_first_counts_steps_or_time() -> None:
    assert share_done(5, 1.0, settings(10, seconds=100)) == 0.5
    assert share_done(5, 90.0, settings(10, seconds=100)) == 0.9
