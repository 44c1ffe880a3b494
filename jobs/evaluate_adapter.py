"""Evaluate one trained adapter: `python -m jobs.evaluate_adapter RUN_DIR`. Champion and candidate through vLLM; writes evaluation.html and evaluation.json."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from csqa_loop import bootstrap
from csqa_loop.analytics.evaluation_page import evaluation_report
from csqa_loop.analytics.html_page import render
from csqa_loop.errors import PermanentError
from csqa_loop.events import GateCheck
from csqa_loop.gate.evaluate import Findings, evaluate, wait_until_resident
from csqa_loop.gate.judged import judged_check
from csqa_loop.gate.overlap import overlap_checks
from csqa_loop.gate.rules import checks as gate
from csqa_loop.gate.rules.regression import categories
from csqa_loop.gate.suite import RegressionSuite, load_suite, suite_hash
from csqa_loop.settings import Settings, load_settings
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import Evaluation, RunConfig, RunRequest
from csqa_loop.training.run.manifest import Manifest
from jobs import entry

_CHANGED = "the regression questions or their policies were edited"


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
        manifest, evaluated = run.finished_manifest(request, config), run.evaluation()
        if manifest is None:
            msg = f"{run.path / 'manifest.json'} is missing: train first (python -m jobs.train_adapter {run.path})"
            raise PermanentError(msg)
        if evaluated is not None and (evaluated.adapter, evaluated.champion) == (manifest.adapter, request.champion):
            changed = evaluated.regression_hash != (suite_hash(config.gate.regression_file) or evaluated.regression_hash)
            print(f"{evaluated.adapter} is evaluated already" + (f"; {_CHANGED} since" if changed else ""), flush=True)
            return
        suite = suite_of(config) if config.gate.enabled else RegressionSuite()
        if config.gate.enabled and not config.model_server_urls:
            msg = f"{run.path / 'config.json'}: model_server_urls is empty; the gate asks the model servers"
            raise PermanentError(msg)
        # Not in the run directory: the judge's key must not lie in a file there.
        settings = load_settings()
        if settings.judge.url:
            bootstrap.build_judge_prompt(settings)  # a wrong one is reported now and not after the answers
    except PermanentError as error:
        raise entry.BadInputError(str(error)) from error
    evaluation, findings = asyncio.run(_judge(run, request, config, manifest, suite, residency_seconds, settings))
    run.require_attempt(request.attempt)
    run.write("evaluation.html", render(evaluation_report(evaluation, findings)))
    run.write("evaluation.json", evaluation.model_dump_json(indent=1).encode())
    print(f"{evaluation.adapter} {'passed' if evaluation.passed else 'did not pass'}", flush=True)


async def _judge(
    run: RunDirectory,
    request: RunRequest,
    config: RunConfig,
    manifest: Manifest,
    suite: RegressionSuite,
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
            server,
            champion=request.champion,
            candidate=manifest.adapter,
            holdout=run.holdout(),
            questions=suite.questions,
            settings=config.gate,
            max_tokens=config.answer_tokens,
        )
    finally:
        await server.stop()
    checks = findings.checks
    if config.gate.enabled:
        checks = (*checks, *await checks_of_answers(findings, settings), *_suite_check(config, suite))
    evaluation = Evaluation(
        run_id=request.run_id,
        adapter=manifest.adapter,
        champion=request.champion,
        passed=gate.verdict(checks),
        checks=checks,
        seconds=round(time.monotonic() - started, 3),
        categories=categories(findings.graded),
        regression_hash=suite.content_hash,
    )
    return evaluation, findings


def suite_of(config: RunConfig) -> RegressionSuite:
    """The regression questions that a run's configuration names, asked as its gateway asks.

    Raises:
        PermanentError: the file, a key or a policy is missing or wrong.
    """
    if not config.gate.regression_file:
        return RegressionSuite()
    return load_suite(Path(config.gate.regression_file), language=config.language, retrieval=config.retrieval)


def _suite_check(config: RunConfig, suite: RegressionSuite) -> tuple[GateCheck, ...]:
    """A note where the suite is not that of the claim. Both adapters were asked the same, so it fails nothing."""
    if not config.regression_hash or config.regression_hash == suite.content_hash:
        return ()
    detail = f"{_CHANGED} since the run was claimed: {config.regression_hash[:12]} then, {suite.content_hash[:12]} now"
    return (GateCheck(name="regression file", passed=True, detail=detail),)


async def checks_of_answers(findings: Findings, settings: Settings) -> tuple[GateCheck, ...]:
    """What needs no model server any more: the judge where settings name one, and overlap with the better answers."""
    return (*await _judged(findings, settings), *_overlap(findings))


async def _judged(findings: Findings, settings: Settings) -> tuple[GateCheck, ...]:
    judge = bootstrap.build_judge(settings)
    if judge is None:
        return ()
    try:
        return (await judged_check(judge, findings, at_once=settings.judge.concurrency, prompt=bootstrap.build_judge_prompt(settings)),)
    finally:
        await judge.stop()


def _overlap(findings: Findings) -> tuple[GateCheck, ...]:
    answers = findings.holdout_answers
    return overlap_checks(
        [pair.chosen for pair in findings.holdout], [answer.champion for answer in answers], [answer.candidate for answer in answers]
    )


if __name__ == "__main__":
    sys.exit(main())
