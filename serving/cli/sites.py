"""``firstread sites add|list|set``: the hospitals that send."""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.database import DataOption, iso, opened
from serving.cli.output import say, tell, tell_json
from serving.worklist.states import OrderedClass

if TYPE_CHECKING:
    from serving.accounts.sites import Site

app = typer.Typer(help="Hospitals that send.", no_args_is_help=True)


class Application(StrEnum):
    """Whether studies of a site are applied for at once, or by somebody."""

    ON_ARRIVAL = "on_arrival"
    BY_HAND = "by_hand"


CodeArgument = Annotated[
    str, typer.Argument(metavar="CODE", help="Its short name: small letters, digits, dashes.")
]
ClassOption = Annotated[
    OrderedClass | None,
    typer.Option("--ordered-class", help="Of its studies for which none is ordered."),
]
ApplicationOption = Annotated[
    Application | None, typer.Option("--application", help="When its studies are applied for.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("add")
def add(
    code: CodeArgument,
    name: Annotated[str, typer.Option("--name", help="As people read it.")],
    ordered_class: ClassOption = None,
    application: ApplicationOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a site: routine, applied for on arrival, where nothing else is said."""
    from serving.accounts.sites import add_site, find_site
    from serving.database.engine import writing

    with opened(data) as engine, writing(engine) as connection:
        add_site(
            connection,
            code=code,
            name=name,
            ordered_class=(ordered_class or OrderedClass.ROUTINE).value,
            application=(application or Application.ON_ARRIVAL).value,
            now=time.time(),
        )
        site = find_site(connection, code)
    _tell_sites([site], as_json, single=True)


@app.command("list")
def list_all(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all sites."""
    from serving.accounts.sites import list_sites
    from serving.database.engine import reading

    with opened(data) as engine, reading(engine) as connection:
        _tell_sites(list_sites(connection), as_json)


@app.command("set")
def set_values(
    code: CodeArgument,
    name: Annotated[str | None, typer.Option("--name", help="As people read it.")] = None,
    ordered_class: ClassOption = None,
    application: ApplicationOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a site; cases that are there keep their class."""
    from serving.accounts.sites import find_site, set_site
    from serving.database.engine import writing

    with opened(data) as engine, writing(engine) as connection:
        set_site(
            connection,
            find_site(connection, code).id,
            name=name,
            ordered_class=ordered_class.value if ordered_class else None,
            application=application.value if application else None,
        )
        site = find_site(connection, code)
    _tell_sites([site], as_json, single=True)


def _tell_sites(
    sites: "list[Site] | tuple[Site, ...]", as_json: bool, *, single: bool = False
) -> None:
    rows = [_row(site) for site in sites]
    if as_json:
        tell_json(rows[0] if single else rows)
        return
    for row in rows:
        tell(f"{row['code']:<24}{row['ordered_class']:<10}{row['application']:<12}{row['name']}")
    if not rows:
        say("no site")


def _row(site: "Site") -> dict[str, Any]:
    return {
        "code": site.code,
        "name": site.name,
        "ordered_class": site.ordered_class,
        "application": site.application,
        "created_at": iso(site.created_at),
    }
