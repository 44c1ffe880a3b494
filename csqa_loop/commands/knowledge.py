"""`csqa knowledge`: what the gateway would retrieve."""

import json
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop import bootstrap
from csqa_loop.commands import knowledge_evaluate
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.http.bearer import bearer
from csqa_loop.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Ask the index that answers are made from, and measure what it finds.")
knowledge_evaluate.register(app)
_SECONDS = 10.0


@app.callback()
def group() -> None:
    """Ask the index that answers are made from, and measure what it finds."""


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="Q", help="A question as a customer would ask it.")],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many chunks to show, best first.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's JSON, for scripts.")] = False,
) -> None:
    """Show the policy passages nearest to a question, with their scores, as the running gateway retrieves them."""
    results = ask_gateway(load_settings(), query, k)
    if as_json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
        return
    console = Console()
    table = Table("score", "policy", "section", "text", show_lines=True)
    for hit in results["hits"]:
        table.add_row(f"{hit['score']:.3f}", escape(hit["policy_id"]), escape(hit["section"]), escape(hit["text"]))
    console.print(table if results["hits"] else "Nothing is indexed yet. Publish policies with `csqa policies sync DIR`.")
    console.print(f"index {results['index_version']}, as of {results['as_of']}")


def ask_gateway(settings: Settings, query: str, k: int) -> dict[str, Any]:
    """The gateway's answer: `index_version`, `as_of` and `hits`.

    Raises:
        TransientError: the gateway does not answer, or is not ready.
        PermanentError: it refused the question; its own words tell why.
    """
    url = f"{settings.gateway_url}/v1/knowledge/search"
    headers = bearer(bootstrap.build_secrets(settings).operator_key)
    try:
        response = httpx.post(url, json={"query": query, "k": k}, headers=headers, timeout=_SECONDS)
    except httpx.HTTPError as error:
        raise TransientError(f"the gateway at {settings.gateway_url} does not answer ({error}); start it with `csqa up`") from error
    if response.is_success:
        try:
            results: dict[str, Any] = response.json()
        except ValueError as error:
            raise PermanentError(f"{url} does not answer in JSON; is something else listening there?") from error
        return results
    words = _reason(response)
    if response.status_code >= 500:
        raise TransientError(f"the gateway at {settings.gateway_url} answered {response.status_code}: {words}")
    hint = "; CSQA_OPERATOR_KEY or CSQA_VAR differs from the gateway's" if response.status_code in {401, 403} else ""
    raise PermanentError(f"the gateway at {settings.gateway_url} refused with {response.status_code}: {words}{hint}")


def _reason(response: httpx.Response) -> str:
    """The detail of a problem document, else the beginning of the body."""
    try:
        body = response.json()
    except ValueError:
        return response.text[:200]
    return str(body.get("detail") or body.get("title") or body) if isinstance(body, dict) else str(body)[:200]
