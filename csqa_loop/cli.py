"""`csqa`: one line on stderr and exit 1 for every error we foresee."""

import logging
import sys

import typer

from csqa_loop.commands import (
    adapters,
    bad_cases,
    data,
    demo,
    docs,
    experiment,
    gate,
    knowledge,
    ledger,
    letters,
    lineage,
    masking,
    operators,
    pairs,
    policies,
    processes,
    report,
    reviews,
)
from csqa_loop.errors import CsqaError

app = typer.Typer(
    name="csqa",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Customer-service answers that learn from feedback. Start with `csqa demo`, or `csqa up` and `csqa policies sync DIR`.",
)
_PROCESSES = ("gateway", "indexer", "loop", "trainer", "up")


@app.callback()
def _quieten(context: typer.Context) -> None:
    """A command says in one sentence that Kafka is away; its client's lines, one a try, are for the logs of processes."""
    if context.invoked_subcommand not in _PROCESSES:
        logging.getLogger("aiokafka").addHandler(logging.NullHandler())


processes.register(app)
demo.register(app)
docs.register(app)
lineage.register(app)
operators.register(app)
gate.register(app)
report.register(app)
masking.register(app)
app.add_typer(adapters.app, name="adapters")
app.add_typer(policies.app, name="policies")
app.add_typer(knowledge.app, name="knowledge")
app.add_typer(ledger.app, name="ledger")
app.add_typer(letters.app, name="letters")
app.add_typer(data.app, name="data")
app.add_typer(bad_cases.app, name="bad-cases")
app.add_typer(pairs.app, name="pairs")
app.add_typer(experiment.app, name="experiment")
app.add_typer(reviews.app, name="reviews")


def main() -> None:
    """Entry point of the `csqa` script."""
    try:
        app()
    except CsqaError as error:
        print(f"csqa: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
