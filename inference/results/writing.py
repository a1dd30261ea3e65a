"""Write the results of an analysis into OUT, which is afterwards whole or absent.

======================== =====================================================================
findings.json            always
sr.dcm                   where the source has a CT with UIDs, scored or not
seg.dcm, key_images/     where there is a finding
======================== =====================================================================
"""

import json
import tempfile
from pathlib import Path

from pydicom import Dataset, dcmwrite

from firstread.errors import OutputExists
from firstread.places import cannot_write, check_writable
from inference.results import document, headers
from inference.results.analysis import Analysis
from inference.results.identity import content_digest, result_uids
from inference.results.key_images import draw_key_image

OURS = {"findings.json", "seg.dcm", "sr.dcm", "key_images"}


def write_results(analysis: Analysis, out: Path, *, replace: bool = False) -> document.Json:
    """Write findings.json, SEG, SR and key images into the new folder ``out``.

    Everything is written into a temporary folder beside ``out``, which then takes its name.

    Parameters
    ----------
    replace
        Whether earlier results of Firstread at ``out`` may be replaced.

    Returns
    -------
    The content of ``findings.json``.

    Raises
    ------
    OutputExists
        ``output-exists``: see :func:`check_place`.
    OutputError
        ``output-unwritable``
    """
    check_place(out, replace=replace)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            fresh = Path(temporary) / "new"
            fresh.mkdir()
            written = _write(analysis, fresh)
            # Again, because the analysis took its time since the first look.
            check_place(out, replace=replace)
            _swap(fresh, out, old=Path(temporary) / "old")
    except OSError as error:
        raise cannot_write(out, error) from error
    return written


def _swap(fresh: Path, out: Path, *, old: Path) -> None:
    """Give ``fresh`` the name ``out``; what stood there goes to ``old``, or back if that fails."""
    if not out.exists():
        fresh.rename(out)
        return
    out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        old.rename(out)
        raise


def check_place(out: Path, *, replace: bool) -> None:
    """Refuse a place that cannot be written or holds anything but results which may be replaced.

    Cheap, so ask before anything is analysed.

    Raises
    ------
    OutputExists
        ``output-exists``: there is something, and ``replace`` is off or it is not ours.
    OutputError
        ``output-unwritable``
    """
    check_writable(out)
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
        return
    if not is_ours(out):
        raise OutputExists(
            f"{out} holds something else than results of Firstread, so it is not replaced",
            advice="choose another place with --out",
        )
    if not replace:
        raise OutputExists(f"{out} exists", advice="choose another place, or add --replace")


def is_ours(out: Path) -> bool:
    """Return whether a folder holds results of Firstread and nothing else."""
    if out.is_symlink() or not out.is_dir() or any(p.name not in OURS for p in out.iterdir()):
        return False
    pictures = out / "key_images"
    if pictures.exists() and any(picture.suffix != ".png" for picture in pictures.iterdir()):
        return False
    try:
        found = json.loads((out / "findings.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("schema") == document.SCHEMA


def _write(analysis: Analysis, folder: Path) -> document.Json:
    content = document.describe(analysis)
    codecs = analysis.study.codecs if analysis.study else {}
    sources = [headers.clean_header(instance, codecs) for instance in analysis.instances]
    digest = content_digest(content, [finding.mask for finding in analysis.findings], sources)
    uids = result_uids(analysis.package, analysis.software_version, digest, len(analysis.findings))
    seg: Dataset | None = None
    if analysis.findings:
        from inference.results.seg import build_seg

        seg = build_seg(analysis, sources, uids)
        dcmwrite(folder / "seg.dcm", seg, enforce_file_format=True)
        (folder / "key_images").mkdir()
    if sources:
        from inference.results.sr import build_sr

        sr = build_sr(analysis, sources, seg, uids)
        dcmwrite(folder / "sr.dcm", sr, enforce_file_format=True)
    for finding in analysis.findings:
        picture = draw_key_image(analysis, finding)
        (folder / document.key_image_name(finding)).write_bytes(picture)
    result = document.complete(content, uids.finding_tracking, analysis.timings_s)
    (folder / "findings.json").write_bytes(document.encode(result))
    return result
