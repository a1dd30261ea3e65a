"""What Firstread makes of a folder: the gate's verdict, and the volume it would score."""

from dataclasses import dataclass
from pathlib import Path

from inference.dicom.choice import choose_study, rank_series
from inference.dicom.reader import open_upload
from inference.gate.judge import judge
from inference.gate.reasons import Verdict
from models.package import InputContract
from tests.peers.places import Stack


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A verdict, and the volume on its own grid; no volume where the series would not be scored."""

    verdict: Verdict
    stack: Stack | None


def judge_folder(folder: Path, contract: InputContract) -> Judged:
    """Read and judge the one study of a folder, as ``firstread analyse --gate-only`` does."""
    with open_upload([folder]) as upload:
        study = choose_study(upload, None)
        judgement = judge(study, rank_series(study, contract).series, contract)
    volume = judgement.volume
    if volume is None or not judgement.verdict.status.is_scored:
        return Judged(judgement.verdict, None)
    grid = volume.grid
    return Judged(judgement.verdict, Stack(volume.hu, lambda *index: grid.to_lps(index)))
