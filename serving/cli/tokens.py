"""``firstread tokens add|list|revoke``: how a site's programs say who they are."""

import time
from typing import Annotated

import typer

from serving.cli.database import DataOption, iso, opened
from serving.cli.output import say, tell, tell_json

app = typer.Typer(help="Tokens for the programs of a site.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("add")
def add(
    site: Annotated[str, typer.Option("--site", metavar="CODE", help="Whose studies it sends.")],
    label: Annotated[str, typer.Option("--label", help="What it is for: a gateway, a script.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once: it sends studies of its site and reads them back."""
    from serving.accounts.sites import find_site
    from serving.accounts.tokens import issue_token
    from serving.database.engine import writing

    with opened(data) as engine, writing(engine) as connection:
        token_id, secret = issue_token(
            connection, site_id=find_site(connection, site).id, label=label, now=time.time()
        )
    if as_json:
        tell_json({"id": token_id, "site": site, "label": label, "token": secret})
        return
    tell(secret)
    say(f"token {token_id} of {site}; it is not shown again")


@app.command("list")
def list_all(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all tokens; the secrets themselves are not known any more."""
    from serving.accounts.tokens import list_tokens
    from serving.database.engine import reading

    with opened(data) as engine, reading(engine) as connection:
        rows = [
            {
                "id": token.id,
                "site": token.site_code,
                "label": token.label,
                "created_at": iso(token.created_at),
                "used_at": iso(token.used_at),
                "revoked_at": iso(token.revoked_at),
            }
            for token in list_tokens(connection)
        ]
    if as_json:
        tell_json(rows)
        return
    for row in rows:
        state = f"revoked {row['revoked_at']}" if row["revoked_at"] else f"used {row['used_at']}"
        if not row["revoked_at"] and not row["used_at"]:
            state = "never used"
        tell(f"{row['id']:<6}{row['site']:<24}{state:<36}{row['label']}")
    if not rows:
        say("no token")


@app.command("revoke")
def revoke(
    token_id: Annotated[int, typer.Argument(metavar="ID")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a token do nothing from now on."""
    from serving.accounts.tokens import revoke_token
    from serving.database.engine import writing

    with opened(data) as engine, writing(engine) as connection:
        revoke_token(connection, token_id, time.time())
    if as_json:
        tell_json({"id": token_id, "revoked": True})
        return
    tell(f"token {token_id}: revoked")
