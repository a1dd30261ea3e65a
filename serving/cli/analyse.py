"""``firstread analyse``: a chest CT in, findings and DICOM results out."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from firstread.errors import UsageError
from firstread.messages import Language, sentence
from firstread.places import check_apart
from serving.cli.exits import EXIT_OF_STATUS
from serving.cli.output import progress_bar, tell, tell_json
from serving.cli.packages import locate


class Provider(StrEnum):
    """What people call the providers of ``models.runtime``."""

    CUDA = "cuda"
    OPENVINO = "openvino"
    CPU = "cpu"


def analyse(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Folders, zips or files.")
    ],
    out: Annotated[Path | None, typer.Option(help="New folder for the results.")] = None,
    study: Annotated[
        str | None, typer.Option(help="Study Instance UID, if there are several.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="What was sent: one SOP Instance UID on each line.")
    ] = None,
    package: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]|FOLDER", help="Default: the newest.")
    ] = None,
    provider: Annotated[
        Provider | None, typer.Option(help="What computes; default: the fastest here.")
    ] = None,
    operating_point: Annotated[
        str, typer.Option(help="A threshold that the package names.")
    ] = "balanced",
    threads: Annotated[int | None, typer.Option(min=1, help="Default: one for each core.")] = None,
    gate_only: Annotated[
        bool, typer.Option("--gate-only", help="Judge, score and write nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an older result at OUT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Analyse one chest CT study and write findings.json, seg.dcm, sr.dcm and key images to OUT.

    Exit codes: 0 scored, 4 not scored (send again), 5 not scored (refused); others in docs/cli.md.
    """
    if gate_only:
        if out is not None:
            raise UsageError("--gate-only writes nothing", advice="leave out --out or --gate-only")
        return _gate_only(inputs, study, manifest, package, as_json=as_json)
    if out is None:
        raise UsageError("--out is missing", advice="name a new folder, or judge with --gate-only")
    from inference.dicom.reader import open_upload
    from inference.gate.arrival import read_manifest
    from inference.pipeline import Timings, check_operating_point
    from inference.pipeline import analyse as analyse_upload
    from inference.results.writing import check_place, write_results
    from models.package import load_package
    from models.runtime import open_runtime

    check_apart(out, inputs)
    check_place(out, replace=replace)
    sent = read_manifest(manifest) if manifest else None
    loaded = load_package(locate(package))
    check_operating_point(loaded, operating_point)
    timings = Timings()
    with progress_bar() as progress, ExitStack() as resources:
        with timings.stage("read"):
            upload = resources.enter_context(open_upload(inputs, progress))
        analysis = analyse_upload(
            upload,
            loaded,
            lambda: open_runtime(loaded, provider, threads=threads),
            operating_point=operating_point,
            study_uid=study,
            manifest=sent,
            progress=progress,
            timings=timings,
        )
        document = write_results(analysis, out, replace=replace)
    if as_json:
        tell_json(document)
    else:
        _tell_result(document, out)
    return EXIT_OF_STATUS[document["verdict"]["status"]]


def _gate_only(
    inputs: list[Path],
    study: str | None,
    manifest: Path | None,
    package: str | None,
    *,
    as_json: bool,
) -> int:
    from inference.dicom.reader import open_upload
    from inference.gate.arrival import read_manifest
    from inference.pipeline import judge_upload, series_choice
    from inference.results.document import choice_document, verdict_document
    from models.package import load_description

    contract = load_description(locate(package)).description.input_contract
    sent = read_manifest(manifest) if manifest else None
    with progress_bar() as progress, open_upload(inputs, progress) as upload:
        judged = judge_upload(upload, contract, study_uid=study, manifest=sent, progress=progress)
    verdict = verdict_document(judged.judgement.verdict)
    choice = choice_document(series_choice(judged))
    if as_json:
        tell_json({"verdict": verdict, "series_choice": choice})
    else:
        _tell_verdict(verdict, choice)
    return EXIT_OF_STATUS[verdict["status"]]


def _tell_verdict(verdict: dict[str, Any], choice: dict[str, Any]) -> None:
    instances = "1 instance" if choice["instances"] == 1 else f"{choice['instances']} instances"
    tell(f"verdict: {verdict['status']}  ({instances}; {choice['why']})")
    for why, count in choice["unread"].items():
        tell(f"  not read: {count} file(s), {why}; slices may be lost with them")
    for reason in verdict["reasons"]:
        tell(f"  {reason['code']}: {reason['en']}")
        tell(f"  {' ' * len(reason['code'])}  {reason['zh']}")


def _tell_result(document: dict[str, Any], out: Path) -> None:
    _tell_verdict(document["verdict"], document["series_choice"])
    if document["scored"]:
        point = document["operating_point"]
        tell(
            f"findings: {len(document['findings'])} at {point['name']} "
            f"(score >= {point['threshold']:g}), "
            f"{len(document['candidates'])} candidates below it"
        )
    for finding in document["findings"]:
        x, y, z = finding["centre_lps_mm"]
        tell(
            f"  {finding['id']}: score {finding['score']:.3f}, {_where(finding)}, "
            f"at ({x:.1f}, {y:.1f}, {z:.1f}) mm, "
            f"mean diameter {finding['mean_diameter_mm']} mm{_off_size(finding)}, "
            f"{finding['volume_mm3']} mm3, {finding['mean_hu']} HU"
        )
    for note in document["notes"]:
        tell(f"note: {note['en']}")
        tell(f"      {note['zh']}")
    files = document["files"]
    names = ["findings.json", files["sr"], files["seg"], *files["key_images"]]
    for name in filter(None, names):
        tell(f"wrote {out / name}")
    if not document["scored"]:
        tell(" ".join(sentence("result.not-scored", language) for language in Language))
    tell(" ".join(sentence("result.not-a-diagnosis", language) for language in Language))


def _off_size(finding: dict[str, Any]) -> str:
    place: str = finding["intended_size"]
    return "" if place == "within" else f" ({place} the intended size)"


def _where(finding: dict[str, Any]) -> str:
    side = finding["laterality"]
    lung = "side undetermined" if side == "undetermined" else f"{side} lung"
    return f"{lung}, {finding['zone']} third" if finding["zone"] else lung
