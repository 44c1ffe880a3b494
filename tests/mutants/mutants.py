"""Faults put into the code on purpose, one at a time, each with tests that must notice it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """`before` stands once in `file` and becomes `after`; one of `tests` must fail then."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Change the file under `root`.

        Raises:
            ValueError: what it changes is no longer there, or there more than once.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"mutant {self.name}: {self.before!r} stands {text.count(self.before)} times in {self.file}; once is expected")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


MUTANTS = (
    Mutant(
        "dedupe-removed", "csqa_loop/ledger/repeats.py", "    if not repeats:\n        return tables, []\n", "    return tables, []\n",
        ("tests/unit/ledger/test_store.py",),
    ),
    Mutant(
        "commits-swapped", "csqa_loop/ledger/intake.py", "            await self._recorder.record((records, rows))\n",
        "            self._uncommitted |= {TopicPartition(mark.topic, mark.partition): mark.next_offset for mark in rows.marks}\n"
        "            await self._commit()\n            await self._recorder.record((records, rows))\n",
        ("tests/faults/test_loop_under_fire.py::test_kills_at_named_points", "tests/unit/ledger"),
    ),
    Mutant(
        "fencing-skipped", "csqa_loop/ledger/authority.py", "        return self.lost_to is not None\n", "        return False\n",
        ("tests/faults/test_one_ledger.py::test_a_second_ledger_is_refused_by_name_and_takes_over_by_order",),
    ),
    Mutant(
        "other-ledger-accepted", "csqa_loop/ledger/rules/claims.py", "    if holder is None or holder.ledger_id == ledger_id:\n", "    if True:\n",
        ("tests/faults/test_one_ledger.py::test_a_second_ledger_is_refused_by_name_and_takes_over_by_order",),
    ),
    Mutant(
        "partition-check-skipped", "csqa_loop/ledger/position.py", "        return missing\n", "        return []\n",
        ("tests/faults/test_one_ledger.py::test_a_part_of_the_log_is_nothing_to_decide_on",),
    ),
    Mutant(
        "tombstone-ignored", "csqa_loop/knowledge/rules/current.py", "            self.current.pop(event.policy_id, None)\n", "            pass\n",
        ("tests/unit/knowledge",),
    ),
    Mutant(
        "former-after-withdrawal", "csqa_loop/knowledge/rules/current.py", "            self._published.pop(event.policy_id, None)\n", "",
        ("tests/integration/test_index.py",),
    ),
    Mutant(
        "letter-bound-removed", "csqa_loop/ledger/letters.py", "record.value and record.value[:MOST_KEPT]", "record.value",
        ("tests/unit/ledger/test_whatever_arrives.py", "tests/unit/ledger/test_limits.py", "tests/unit/console/test_letters.py"),
    ),
    Mutant(
        "old-attempt-counts", "csqa_loop/training/runs.py", "        [request.run_id, request.attempt],\n", "        [request.run_id, 1],\n",
        ("tests/unit/training", "--ignore=tests/unit/training/trl", "tests/unit/rollout"),
    ),
    Mutant(
        "torn-spool-kept", "csqa_loop/log/spool.py", " or zlib.crc32(body) != checksum:\n", ":\n",
        ("tests/unit/log",),
    ),
    Mutant(
        "backup-not-verified", "csqa_loop/ledger/backup.py", "    if found != said.sha256:\n", "    if not found:\n",
        ("tests/unit/ledger/test_backup.py",),
    ),
    Mutant(
        "damaged-adapter-loaded", "csqa_loop/rollout/reconciler.py", "            if fault := await asyncio.to_thread(self._fault, adapter):\n",
        '            if fault := "":\n',
        ("tests/faults/test_damaged_adapters.py", "-mnot vllm"),
    ),
    Mutant(
        "numbers-that-are-none", "csqa_loop/training/tensors.py", "        if damaged:\n", "        if False:\n",
        ("tests/unit/training/test_tensors.py",),
    ),
)  # fmt: skip
