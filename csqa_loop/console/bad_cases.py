"""What bad answers have in common."""

from fastapi import APIRouter
from pydantic import AwareDatetime

from csqa_loop.console.parts import ConsoleParts
from csqa_loop.evidence import bad_cases
from csqa_loop.evidence.rules.case_report import CaseReport


def bad_cases_router(parts: ConsoleParts) -> APIRouter:
    """GET /bad-cases/report."""
    router = APIRouter(prefix="/bad-cases")

    @router.get("/report")
    async def show_report(since: AwareDatetime | None = None, until: AwareDatetime | None = None) -> CaseReport:
        return await parts.ledger.ask(bad_cases.report, since, until)

    return router
