"""The figures as Markdown, and their medians."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.limits import Limit
from tests.bench.parts import Part, Stage

TOTAL = "total"
# Shown by its parts: resample, network, decode.
MADE_OF_OTHERS = ("detect",)


@dataclass(frozen=True, slots=True)
class Target:
    """What is promised, and what was measured."""

    what: str
    limit: float
    measured: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.measured <= self.limit


def medians(runs: Sequence[Part]) -> tuple[Stage, ...]:
    """Return the median over the runs of each stage, in the order of the first run."""
    named = [{stage.name: stage for stage in run.stages} for run in runs]
    return tuple(
        Stage(
            name,
            median(run[name].wall_s for run in named),
            median(run[name].cpu_s for run in named),
            round(median(run[name].peak_bytes for run in named)),
        )
        for name in named[0]
    )


def stage_table(stages: Sequence[Stage], limits: Mapping[str, Limit]) -> str:
    """Return one row for each stage, the total last."""
    head = "| stage | CPU s | wall s | peak MB | limit s | what the limit is |\n"
    head += "|---|---|---|---|---|---|\n"
    shown = [stage for stage in stages if stage.name not in MADE_OF_OTHERS]
    ordered = sorted(shown, key=lambda stage: stage.name == TOTAL)
    return head + "".join(_row(stage, limits.get(stage.name)) for stage in ordered)


def target_table(targets: Sequence[Target]) -> str:
    """Return one row for each target, a missed one beside what was asked."""
    head = "| target | at most | measured | |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {one.what} | {one.limit:g} {one.unit} | {one.measured:.2f} {one.unit} "
        f"| {'met' if one.is_met else '**missed**'} |\n"
        for one in targets
    )


def _row(stage: Stage, limit: Limit | None) -> str:
    bound = f"{limit.seconds:.3f} | {limit.what}" if limit else " | "
    return (
        f"| {stage.name} | {stage.cpu_s:.2f} | {stage.wall_s:.2f} | {stage.peak_bytes / 1e6:.0f} "
        f"| {bound} |\n"
    )
