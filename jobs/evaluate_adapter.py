"""Evaluate one trained adapter: `python -m jobs.evaluate_adapter RUN_DIR`. Champion and candidate through vLLM; writes evaluation.html and evaluation.json."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from csqa_loop import bootstrap
from csqa_loop.backends.html_report import render
from csqa_loop.backends.overlap import overlap_checks
from csqa_loop.cycle.evaluate import AskedQuestion, Findings, evaluate, wait_until_resident
from csqa_loop.cycle.judged import judged_check
from csqa_loop.cycle.manifest import Manifest
from csqa_loop.cycle.run_directory import Evaluation, RunConfig, RunDirectory, RunRequest
from csqa_loop.domain import gate
from csqa_loop.domain.chunking import chunk_markdown
from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.events import ChatMessage, GateCheck
from csqa_loop.domain.prompt import build_messages
from csqa_loop.domain.scenario import Probe
from csqa_loop.settings import RetrievalSettings, Settings, load_settings
from jobs import entry
from jobs.evaluation_report import evaluation_report


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then evaluate. Exit codes: 0 evaluated (passed or not), 2 bad run directory, 1 anything else."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--residency-seconds", type=float, default=120.0, help="how long to wait until vLLM holds candidate and champion"
        )

    options = entry.arguments("evaluate_adapter", "Hold the adapter of RUN_DIR against its champion.", argv, options=add)
    return entry.run("evaluate_adapter", options.run_dir, lambda run: judge(run, options.residency_seconds))


def judge(run: RunDirectory, residency_seconds: float) -> None:
    """Write evaluation.html for people and then evaluation.json, once.

    Raises:
        BadInputError: the run directory is not complete, the run is not trained, or the regression file is wrong.
        TransientError: the model servers do not hold the adapters in time, or do not answer.
    """
    try:
        request, config = run.check()
        manifest, known = run.made(request, config), run.evaluation()
        if manifest is None:
            msg = f"{run.path / 'manifest.json'} is missing: train first (python -m jobs.train_adapter {run.path})"
            raise PermanentError(msg)
        if known is not None and (known.adapter, known.champion) == (manifest.adapter, request.champion):
            print(f"{known.adapter} is evaluated already", flush=True)
            return
        questions = regression_questions(Path(config.gate.regression_file)) if config.gate.regression_file and config.gate.enabled else ()
        if config.gate.enabled and not config.model_server_urls:
            msg = f"{run.path / 'config.json'}: model_server_urls is empty; the gate asks the model servers"
            raise PermanentError(msg)
        # Not in the run directory: the judge's key must not lie in a file there.
        settings = load_settings()
    except PermanentError as error:
        raise entry.BadInputError(str(error)) from error
    evaluation, findings = asyncio.run(_judge(run, request, config, manifest, questions, residency_seconds, settings))
    run.require_attempt(request.attempt)
    run.write("evaluation.html", render(evaluation_report(evaluation, findings)))
    run.write("evaluation.json", evaluation.model_dump_json(indent=1).encode())
    print(f"{evaluation.adapter} {'passed' if evaluation.passed else 'did not pass'}", flush=True)


async def _judge(
    run: RunDirectory,
    request: RunRequest,
    config: RunConfig,
    manifest: Manifest,
    questions: Sequence[AskedQuestion],
    residency_seconds: float,
    settings: Settings,
) -> tuple[Evaluation, Findings]:
    started = time.monotonic()
    server = bootstrap.build_model_server_at(config.model_server_urls, Path(config.adapters))
    await server.start()
    try:
        if config.gate.enabled:
            await wait_until_resident(server, (request.champion, manifest.adapter), config.model_server_urls, residency_seconds)
        findings = await evaluate(
            server, champion=request.champion, candidate=manifest.adapter, holdout=run.holdout(), questions=questions, settings=config.gate
        )
    finally:
        await server.stop()
    checks = findings.checks
    if config.gate.enabled:
        checks = (*checks, *await checks_of_answers(findings, settings))
    evaluation = Evaluation(
        run_id=request.run_id,
        adapter=manifest.adapter,
        champion=request.champion,
        passed=gate.verdict(checks),
        checks=checks,
        seconds=round(time.monotonic() - started, 3),
    )
    return evaluation, findings


async def checks_of_answers(findings: Findings, settings: Settings) -> tuple[GateCheck, ...]:
    """What needs no model server any more: the judge where settings name one, and overlap with the better answers."""
    return (*await _judged(findings, settings), *_overlap(findings))


async def _judged(findings: Findings, settings: Settings) -> tuple[GateCheck, ...]:
    judge = bootstrap.build_judge(settings)
    if judge is None:
        return ()
    try:
        return (await judged_check(judge, findings, at_once=settings.judge.concurrency),)
    finally:
        await judge.stop()


def _overlap(findings: Findings) -> tuple[GateCheck, ...]:
    answers = findings.holdout_answers
    return overlap_checks(
        [pair.chosen for pair in findings.holdout], [said.champion for said in answers], [said.candidate for said in answers]
    )


def regression_questions(file: Path) -> tuple[AskedQuestion, ...]:
    """Every phrasing in the file's `regression` list, with the messages that the gateway would send for it.

    Raises:
        PermanentError: the file, a key or a policy is missing or wrong.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"gate.regression_file {file} cannot be read: {' '.join(str(error).split())}"
        raise PermanentError(msg) from error
    if not isinstance(content, dict) or not isinstance(content.get("regression") or [], list):
        msg = f"{file} must be a mapping with a list `regression` (and `policies`, the folder of Markdown files)"
        raise PermanentError(msg)
    language = str(content.get("language", "en"))
    folder = file.parent / str(content.get("policies", "policies"))
    asked: list[AskedQuestion] = []
    for question in _questions(file, content.get("regression") or []):
        passages = _passages(folder / question.policy)
        for ask in question.ask:
            excerpts = gate.best_passages(ask, passages, RetrievalSettings().top_k)
            messages = build_messages([ChatMessage(role="user", content=ask)], excerpts, default_language=language)
            asked.append(AskedQuestion(question, messages, language))
    return tuple(asked)


def _questions(file: Path, items: Sequence[Any]) -> list[Probe]:
    questions = [_question(file, number, item) for number, item in enumerate(items)]
    known: set[str] = set()
    for number, question in enumerate(questions):
        if question.id in known:
            msg = f"{file}: regression[{number}].id is {question.id!r}, which another question has; ids must be unique"
            raise PermanentError(msg)
        known.add(question.id)
    return questions


def _question(file: Path, number: int, item: Any) -> Probe:
    try:
        return Probe.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (f"regression[{number}]", *first["loc"]))
        msg = f"{file}: {where} is {str(first['input'])[:80]!r}: {first['msg']}; a question has id, policy, ask, expect and, if need be, forbid, category and zero_tolerance"
        raise PermanentError(msg) from error


def _passages(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"policy {file} of a regression question cannot be read: {error}"
        raise PermanentError(msg) from error
    return tuple(passage.text for passage in chunk_markdown(text, RetrievalSettings().chunk_characters))


if __name__ == "__main__":
    sys.exit(main())
