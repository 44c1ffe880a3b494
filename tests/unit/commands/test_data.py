"""`csqa data` as a person or a script runs it; the log is in memory."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from csqa_loop import bootstrap
from csqa_loop.commands import data_reading
from csqa_loop.commands.data import app
from csqa_loop.data import importing
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import Event, ExampleImported
from tests.fakes.bus import MemoryBus
from tests.fakes.judge import FakeJudge


class CommandBus(MemoryBus):
    """A log in memory that a command can start and stop."""

    async def start(self) -> None:
        pass

    async def ensure_topics(self) -> None:
        pass

    async def stop(self) -> None:
        pass


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandBus:
    monkeypatch.setenv("CSQA_VAR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    log = CommandBus()
    monkeypatch.setattr(bootstrap, "build_bus", lambda settings: log)
    return log


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*arguments: object) -> dict[str, Any]:
    return json.loads(run(*arguments, "--json"))


def tickets(folder: Path, count: int = 30) -> Path:
    file = folder / "tickets.csv"
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["Ticket", "Good", "Bad", "Topic"])
        for number in range(count):
            topic = "returns" if number % 3 else "fees"
            writer.writerow([f"How do I return item {number}?", f"Within {number + 10} days.", "Never.", topic])
    return file


_GOODS = ("boots", "lamp", "laptop", "sofa", "kettle", "bicycle", "curtain", "phone", "wardrobe", "necklace")


def questions(folder: Path) -> Path:
    """Thirty that do not resemble one another, of two categories."""
    file = folder / "questions.jsonl"
    asks = ("How do I return a {}?", "Who repairs my broken {}?", "When does the {} arrive that I ordered on Monday?")
    rows = [(ask.format(thing), number) for number, (thing, ask) in enumerate((thing, ask) for thing in _GOODS for ask in asks)]
    file.write_text("\n".join(
        json.dumps({"question": question, "answer": f"Within {n + 10} days.", "category": "returns" if n % 3 else "fees"}) for question, n in rows
    ))  # fmt: skip
    return file


COLUMNS = ("--columns", "question=Ticket,chosen=Good,rejected=Bad", "--category-column", "Topic")


def test_pairs_of_a_spreadsheet_reach_the_log_once(bus: CommandBus, tmp_path: Path) -> None:
    file = tickets(tmp_path)
    first = told("import", file, *COLUMNS, "--split", 0.8, "--seed", 2, "--operator", "ann")
    assert (first["published"], first["examples"]["accepted"], first["kinds"]) == (30, 30, {"pair": 30})
    events = bus.of_type(ExampleImported)
    assert events[0].messages[-1].content == "How do I return item 0?"
    assert (events[0].answer, events[0].rejected, events[0].category, events[0].operator) == ("Within 10 days.", "Never.", "fees", "ann")
    assert {event.split for event in events} == {"train", "holdout"}
    again = told("import", file, *COLUMNS, "--split", 0.8, "--seed", 2)
    assert (again["published"], again["published_before"], len(bus.records)) == (0, 30, 30)


def test_another_split_of_what_was_published_is_said(bus: CommandBus, tmp_path: Path) -> None:
    file = tickets(tmp_path)
    for _ in range(2):
        assert not any("other options" in warning for warning in told("import", file, *COLUMNS)["warnings"])
    [warning] = [warning for warning in told("import", file, *COLUMNS, "--split", 0.5)["warnings"] if "other options" in warning]
    assert warning.startswith("30 examples of this file were published before")


def test_without_the_sidecar_the_same_rows_have_the_same_ids(bus: CommandBus, tmp_path: Path) -> None:
    file = tickets(tmp_path)
    first = told("import", file, *COLUMNS)
    Path(first["progress_file"]).unlink()
    told("import", file, *COLUMNS)
    assert len(bus.records) == 60
    assert len({event.event_id for event in bus.events}) == 30


def test_a_dry_run_publishes_nothing_and_a_person_reads_a_table(bus: CommandBus, tmp_path: Path) -> None:
    said = run("import", tickets(tmp_path), *COLUMNS, "--dry-run")
    assert "nothing was published" in said
    assert "Categories" in said
    assert "returns" in said
    assert bus.records == []
    assert told("import", tickets(tmp_path), *COLUMNS)["published"] == 30


def test_an_import_that_was_interrupted_goes_on(bus: CommandBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH", 10)
    file, publish, calls = tickets(tmp_path), bus.publish, 0

    async def interrupted(*events: Event) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        await publish(*events)

    monkeypatch.setattr(bus, "publish", interrupted)
    stopped = CliRunner().invoke(app, ["import", str(file), *COLUMNS])
    assert stopped.exit_code == 130
    assert "10 examples are in the log" in stopped.stderr
    rest = told("import", file, *COLUMNS)
    assert (rest["published"], rest["published_before"]) == (20, 10)
    assert len({event.event_id for event in bus.events}) == len(bus.records) == 30


def test_a_log_that_is_away_leaves_a_usable_state(bus: CommandBus, tmp_path: Path) -> None:
    file = tickets(tmp_path)
    bus.fail()
    with pytest.raises(TransientError):
        run("import", file, *COLUMNS)
    assert told("import", file, *COLUMNS)["published"] == 30


def test_every_refused_row_is_written_down(bus: CommandBus, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    same = json.dumps({"question": "How long?", "answer": "14 days."})
    file.write_text("\n".join([same, "{", *[same] * 500]))
    report = told("import", file)
    assert (report["published"], report["examples"]["refused"], len(report["listed"])) == (1, 501, 200)
    refused = [json.loads(line) for line in Path(report["refused_file"]).read_text().splitlines()]
    assert [entry["line"] for entry in refused] == list(range(2, 503))
    assert refused[-1]["reason"] == "duplicate of line 1"


def test_a_file_without_anything_usable_is_an_error(bus: CommandBus, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,text\n1,hello\n")
    with pytest.raises(PermanentError, match=r"a\.csv.*|columns found") as caught:
        run("import", file)
    assert "'id', 'text'" in str(caught.value)
    with pytest.raises(PermanentError, match="category=Tpoic: there is no such column; columns found: 'Ticket'"):
        run("import", tickets(tmp_path), *COLUMNS[:2], "--category-column", "Tpoic")
    assert bus.records == []
    file.write_text("question,answer\n,\nq,\n")
    with pytest.raises(PermanentError, match="no row can be used"):
        run("import", file)


@pytest.mark.parametrize(("format_", "words"), [("alpaca", "instruction"), ("sharegpt", "conversations")])
def test_a_format_asks_for_its_columns(bus: CommandBus, tmp_path: Path, format_: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        run("report", tickets(tmp_path), "--format", format_)


def test_reports_as_json_page_and_pictures(bus: CommandBus, tmp_path: Path) -> None:
    file = tickets(tmp_path)
    run("report", file, *COLUMNS, "--report", "a.json", "--report", "a.html", "--report", "pictures")
    report = json.loads(Path("a.json").read_text())
    assert report["characters"]["question"] == {"mean": 23.7, "p50": 24, "p95": 24, "max": 24}
    assert report["diversity"]["question"]["distinct_1"] > 0
    page = Path("a.html").read_text()
    assert "<h2>Categories</h2>" in page
    assert page.count("data:image/png;base64,") == 3
    assert sorted(picture.name for picture in Path("pictures").iterdir()) == ["categories.png", "languages.png", "lengths.png"]
    for wrong in ("a.txt", "no/such/a.json"):
        with pytest.raises(PermanentError, match="--report"):
            run("report", file, *COLUMNS, "--report", wrong)


def test_a_place_that_cannot_be_written_is_named(bus: CommandBus, tmp_path: Path) -> None:
    file = questions(tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(PermanentError, match="--report taken cannot be written: File exists"):
        run("report", file, "--report", "taken")
    (tmp_path / "var").write_text("")
    with pytest.raises(PermanentError, match="CSQA_VAR must name a folder"):
        run("import", file)


def test_warnings_in_plain_words(bus: CommandBus, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"question": f"How long {n % 4}?", "chosen": f"{n} days.", "rejected": f"{n} days!" if n < 12 else "No.", "category": "x" if n < 90 else "y"}
            for n in range(100)]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, rows)))
    warnings = told("report", file)["warnings"]
    assert "rejected and chosen are equal in 12 rows" in warnings
    assert "89 % of rows are of one category (x)" in warnings
    assert "only 4 distinct questions in 88 rows" in warnings


def test_a_split_can_be_imported_as_it_is(bus: CommandBus, tmp_path: Path) -> None:
    counts = told("split", questions(tmp_path), "--out", "parts", "--share", 0.2, "--seed", 3)
    assert (counts["train"], counts["holdout"]) == (24, 6)
    for side in ("train", "holdout"):
        run("import", f"parts/{side}.jsonl")
    events = bus.of_type(ExampleImported)
    assert [event.split for event in events].count("holdout") == 6
    assert {(event.category, event.split) for event in events} == {(c, s) for c in ("returns", "fees") for s in ("train", "holdout")}
    assert sorted(event.answer for event in events) == sorted(f"Within {n + 10} days." for n in range(30))


def test_what_was_made_from_a_row_stays_with_it(bus: CommandBus, tmp_path: Path) -> None:
    run("augment", questions(tmp_path), "--out", "more.jsonl", "--methods", "phrasing,emotion,typos", "--factor", 3, "--seed", 5)
    counts = told("split", "more.jsonl", "--out", "parts", "--share", 0.3, "--seed", 3)
    assert counts["train"] > counts["holdout"] > 0
    sides = {
        side: {
            row.get("made_from", row["messages"][-1]["content"])
            for row in map(json.loads, Path(f"parts/{side}.jsonl").read_text().splitlines())
        }
        for side in ("train", "holdout")
    }
    assert len(sides["train"]) + len(sides["holdout"]) == len(sides["train"] | sides["holdout"]) == 30


def test_a_share_that_near_repeats_forbid_is_said(bus: CommandBus, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["split", str(tickets(tmp_path)), *COLUMNS, "--out", "parts", "--json"])
    assert json.loads(result.stdout)["holdout"] == 0
    assert "cannot be held out: too many nearly repeat one another" in result.stderr


def test_no_command_writes_over_its_own_file(bus: CommandBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSQA_JUDGE__URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CSQA_JUDGE__MODEL", "judge")
    file = questions(tmp_path)
    with pytest.raises(PermanentError, match=r"--out .*questions\.jsonl is no folder"):
        run("split", file, "--out", file)
    run("split", file, "--out", "parts")
    same = ("augment", file, "--out", file), ("generate", file, "--out", file, "--method", "evol-instruct")
    for arguments in (*same, ("split", "parts/train.jsonl", "--out", "parts")):
        with pytest.raises(PermanentError, match="over FILE itself"):
            run(*arguments)


def test_augmenting_keeps_the_rows_and_says_what_made_the_others(bus: CommandBus, tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        counts = told("augment", tickets(tmp_path), *COLUMNS, "--out", name, "--methods", "synonyms,typos", "--factor", 2, "--seed", 5)
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
    assert (counts["rows"], counts["made"]) == (30, 60)
    made = [json.loads(line).get("generator") for line in Path("one.jsonl").read_text().splitlines()]
    assert {generator: made.count(generator) for generator in made} == {None: 30, "augment:synonyms": 30, "augment:typos": 30}
    with pytest.raises(PermanentError, match="'shouting' is none of synonyms"):
        run("augment", tickets(tmp_path), *COLUMNS, "--out", "x", "--methods", "shouting")


def test_generating_needs_a_judge_and_leaves_one_file(bus: CommandBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("generate", tickets(tmp_path, 3), *COLUMNS, "--out", "new.jsonl", "--method", "evol-instruct", "--n", 5)
    with pytest.raises(PermanentError, match="CSQA_JUDGE__URL"):
        run(*arguments)
    monkeypatch.setenv("CSQA_JUDGE__URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CSQA_JUDGE__MODEL", "judge")

    class Judge(FakeJudge):
        async def stop(self) -> None:
            pass

    said = json.dumps({"question": "My brother gave me a lamp that is too bright, may I bring it back?", "answer": "Yes, you may."})
    monkeypatch.setattr(bootstrap, "build_judge", lambda settings: Judge(lambda messages: said))
    counts = told(*arguments)
    assert counts["made"] == 1
    assert [entry["reason"].split(" line")[0] for entry in counts["refused"]] == ["its question nearly repeats that of"] * 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("new")) == ["new.jsonl"]
    assert json.loads(Path("new.jsonl").read_text())["generator"] == "evol-instruct:fake-judge"


def test_help_teaches_by_example() -> None:
    for command in ("import", "report", "split", "augment", "generate"):
        assert f"csqa data {command}" in run(command, "--help").replace("\n", " ")


def test_an_import_has_a_name_of_its_own_for_each_way_of_reading(bus: CommandBus, tmp_path: Path) -> None:
    file = tickets(tmp_path)
    plain = data_reading.reading_of(file, "auto", "", COLUMNS[1], "", "")
    assert plain.key == data_reading.reading_of(file, "auto", "", COLUMNS[1], "", "").key
    assert plain.key != data_reading.reading_of(file, "auto", "", COLUMNS[1], "Topic", "").key
    assert plain.key != data_reading.reading_of(file, "auto", "", COLUMNS[1], "", "", 0.9, 1).key
