"""``firstread models list|show|verify``: the packages on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.output import tell, tell_json
from serving.cli.packages import locate

if TYPE_CHECKING:
    from models.package import OperatingPoint

app = typer.Typer(help="Model packages on this machine.", no_args_is_help=True)

PackageArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME[@VERSION] | FOLDER]", help="Default: the newest.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_packages(as_json: JsonOption = False) -> None:
    """List the packages that ship with this installation, newest version first."""
    from models.package import available_packages, find_package

    rows = []
    for reference in available_packages():
        package = find_package(reference, check_files=False)
        described = package.description
        rows.append(
            {
                "name": described.name,
                "version": described.version,
                "task": described.task,
                "sha256": package.sha256,
                "operating_points": list(described.operating_points),
            }
        )
    if as_json:
        tell_json(rows)
        return
    for row in rows:
        tell(
            f"{row['name']}@{row['version']}  {row['task']}  {str(row['sha256'])[:12]}  "
            f"{', '.join(row['operating_points'])}"
        )
    if not rows:
        tell("no package")


@app.command("show")
def show(package: PackageArgument = None, as_json: JsonOption = False) -> None:
    """Show what a package says of itself: purpose, limits, operating points, training data."""
    from models.package import load_description

    found = load_description(locate(package))
    if as_json:
        document = found.description.model_dump(mode="json", by_alias=True)
        tell_json({**document, "sha256": found.sha256})
        return
    described = found.description
    tell(f"{found.reference}  ({described.task}, {described.licence})")
    tell(f"  sha256 {found.sha256}")
    tell(f"  {described.intended_use.en}")
    tell(f"  {described.intended_use.zh}")
    tell("limits of the input:")
    for name, value in described.input_contract.model_dump(mode="json").items():
        shown = ", ".join(value) if isinstance(value, list) else value
        tell(f"  {name:<24}{shown}")
    tell(f"operating points (floor {described.floor:g}):")
    for name, point in described.operating_points.items():
        tell(f"  {name:<18}score >= {point.threshold:g}; {_expected(point)}; {point.measured_on}")
    tell("trained on:")
    for line in described.training_data:
        tell(f"  {line}")


@app.command("verify")
def verify(package: PackageArgument = None, as_json: JsonOption = False) -> None:
    """Check every byte of a package against the hashes that it states."""
    from models.package import load_package

    found = load_package(locate(package))
    files = len(found.description.files) + 1
    if as_json:
        tell_json({"package": found.reference, "sha256": found.sha256, "files": files, "ok": True})
        return
    tell(f"{found.reference}: {files} files as stated, sha256 {found.sha256}")


def _expected(point: "OperatingPoint") -> str:
    if point.sensitivity is None or point.false_positives_per_scan is None:
        return "not measured"
    return (
        f"sensitivity {point.sensitivity:.0%}, "
        f"{point.false_positives_per_scan:.1f} false positives a scan"
    )
