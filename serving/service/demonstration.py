"""Four studies to look at: synthetic chests, sent to the service like anybody's.

They are studies of the day on which they are made, so that they are everyday work and not old
ones. A study keeps its day for as long as its folder is there: what was sent is known again.

========= ======================================================= =============================
patient   chest                                                   stands on the list
========= ======================================================= =============================
何静怡    ten slices are missing                                  marked, with what to send again
林建国    no nodule                                               scored, nothing found
王伟      nodules of 6 and 9 mm                                   scored, in its ordered class
欧阳秀英  one nodule of 22 mm                                     first: AI-critical
========= ======================================================= =============================
"""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from firstread.progress import Progress, silent
from inference.phantom import NameStyle, NoduleSpec, PhantomSpec, make_phantom, write_phantom

SLICES, SLICE_MM = 130, 2.5


@dataclass(frozen=True, slots=True)
class DemonstrationStudy:
    """One study of the demonstration.

    Attributes
    ----------
    missing
        Numbers of the slices that are left out, counted from the feet.
    """

    folder: str
    patient: str
    nodules_mm: tuple[float, ...]
    seed: int
    names: NameStyle = NameStyle.UTF8
    missing: range = range(0)

    @property
    def spec(self) -> PhantomSpec:
        """What the chest is made from."""
        return PhantomSpec(
            tuple(NoduleSpec(diameter) for diameter in self.nodules_mm),
            slice_mm=SLICE_MM,
            slices=SLICES,
            seed=self.seed,
            names=self.names,
            patient=self.patient,
        )


# In the order in which they are sent; the list puts the last one first.
STUDIES = (
    DemonstrationStudy("missing", "He^Jingyi=何^静怡", (8.0,), 13, missing=range(60, 70)),
    DemonstrationStudy("clean", "Lin^Jianguo=林^建国", (), 12, NameStyle.GB18030),
    DemonstrationStudy("small", "Wang^Wei=王^伟", (6.0, 9.0), 11),
    DemonstrationStudy("large", "Ouyang^Xiuying=欧阳^秀英", (22.0,), 10, NameStyle.GB18030),
)


def make_study(
    study: DemonstrationStudy, folder: Path, today: date, progress: Progress = silent
) -> Path:
    """Make a study of today in its place in a folder; return the place. What is there is kept.

    About seven CPU seconds. It is written beside its place and renamed, so one that is there is
    whole.
    """
    place = folder / study.folder
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{study.folder}"
        shutil.rmtree(fresh, ignore_errors=True)
        paths = write_phantom(make_phantom(study.spec, progress), fresh, progress, study_day=today)
        for number in study.missing:
            paths[number].unlink()
        fresh.rename(place)
    return place
