"""`csqa loop` that kills itself with signal 9 at a named point: `python -m tests.faults.killed_at POINT NUMBER`."""

import os
import signal
import sys
from typing import Any

from csqa_loop.cli import main
from csqa_loop.ledger.intake import Intake
from csqa_loop.ledger.store import Ledger
from csqa_loop.log.producer import KafkaBus

POINTS = {
    "between the ledger and Kafka's commit": (Intake, "_commit"),
    "before a batch is written": (Ledger, "take"),
    "before something is published": (KafkaBus, "publish"),
}


def kill_at(point: str, number: int) -> None:
    """Let the first `number` - 1 calls pass."""
    owner, name = POINTS[point]
    real, calls = getattr(owner, name), iter(range(1, 1_000_000))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls) >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    setattr(owner, name, call)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:] = ["loop"]
    main()
