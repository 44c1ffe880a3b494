"""Whose fault a bad answer is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.answering.rules.prompt import build_messages
from csqa_loop.demo.sabotage import wrong_correction
from csqa_loop.demo.scenario import Scenario, ScenarioQuestion
from csqa_loop.demo.scenario_files import load_scenario, packaged, policy_folder
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.rules.blame import Case, Fault, blame
from csqa_loop.evidence.rules.corpus import Corpus, stated_in, terms_in
from csqa_loop.evidence.rules.grading import judge
from csqa_loop.knowledge.rules.passages import PolicyPassage, passages_of
from csqa_loop.knowledge.rules.versions import policy_version

RETURNS = PolicyPassage(
    "returns", "1" * 12, "Electronics", "Returns > Electronics\nUnused electronics may be returned within 14 days of delivery."
)
BOOTS = PolicyPassage("returns", "1" * 12, "Boots", "Returns > Boots\nBoots may be returned within 45 days if the soles are clean.")
PETS = PolicyPassage("visit", "2" * 12, "Pets", "Visit > Pets\nDogs on a lead are welcome in every shop.")
CORPUS = Corpus([RETURNS, BOOTS, PETS])


def case(better: str = "", *, shown: PolicyPassage = RETURNS, question: str = "How long may I return electronics?", **fields: str) -> Case:
    body = {"answer": "30 days.", "reason": "wrong", "source": "model", "prompt": f"Policy:\n\n{shown.text}"} | fields
    return Case(question=question, better=better, quoted=((shown.policy_id, shown.version),), **body)


def test_what_the_prompt_says_is_a_fault_of_generation() -> None:
    found = blame(case("You may return unused electronics within 14 days."), CORPUS)
    assert (found.fault, found.basis, found.policy_id, found.section) == (Fault.GENERATION, "correction", "returns", "Electronics")


def test_what_another_passage_says_was_missed_by_retrieval() -> None:
    found = blame(case("Boots can be returned within 45 days.", question="Until when can I return boots?"), CORPUS)
    assert (found.fault, found.section, found.missing_numbers) == (Fault.RETRIEVAL_MISS, "Boots", ("45",))


def test_a_number_that_no_policy_states_is_a_stale_or_missing_policy() -> None:
    assert blame(case("Unused electronics may be returned within 21 days of delivery."), CORPUS).fault is Fault.STALE_POLICY
    found = blame(case("Gift wrapping costs 3 euros a parcel.", question="What does gift wrapping cost?"), CORPUS)
    assert found.fault is Fault.MISSING_POLICY


def test_an_answer_from_an_old_version_is_stale() -> None:
    old = PolicyPassage(
        "returns", "0" * 12, "Electronics", "Returns > Electronics\nUnused electronics may be returned within 7 days of delivery."
    )
    found = blame(case("Unused electronics may be returned within 14 days.", shown=old), CORPUS)
    assert found.fault is Fault.STALE_POLICY
    assert "000000000000" in found.detail


def test_spelling_of_a_number_does_not_matter() -> None:
    assert blame(case("You may return unused electronics within fourteen days."), CORPUS).fault is Fault.GENERATION


def test_a_number_of_the_question_needs_no_policy() -> None:
    asked = "I bought 3 radios. How long may I return the electronics?"
    assert blame(case("All 3: unused electronics may be returned within 14 days.", question=asked), CORPUS).fault is Fault.GENERATION


@pytest.mark.parametrize("source", ["cache", "tool"])
def test_only_what_the_model_wrote_is_blamed_on_the_model(source: str) -> None:
    assert blame(case("Unused electronics may be returned within 14 days.", source=source), CORPUS).fault is Fault.NOT_THE_MODEL


def test_a_refusal_can_still_be_a_retrieval_miss() -> None:
    missed = blame(case("Boots can be returned within 45 days.", source="refusal", prompt="(no policy covers this)"), CORPUS)
    assert missed.fault is Fault.RETRIEVAL_MISS
    assert blame(case("Unused electronics may be returned within 14 days.", source="refusal"), CORPUS).fault is Fault.NOT_THE_MODEL


def test_tone_is_always_the_models() -> None:
    polite = "I am so sorry for the trouble! Let me help you with pleasure, dear customer."
    assert blame(case(polite, reason="tone"), CORPUS).fault is Fault.GENERATION
    assert blame(case(f"{polite} You get 99 euros.", reason="tone"), CORPUS).fault is not Fault.GENERATION


def test_without_a_correction_the_question_tells() -> None:
    assert blame(case(), CORPUS).fault is Fault.GENERATION
    assert blame(case(shown=PETS), CORPUS).fault is Fault.RETRIEVAL_MISS
    assert blame(case(question="Which cryptocurrency wallets work?"), CORPUS).fault is Fault.MISSING_POLICY


def test_without_any_policy_only_the_model_can_be_looked_at() -> None:
    found = blame(case("14 days."), Corpus([]))
    assert (found.fault, found.basis) == (Fault.GENERATION, "no policy is known")


@given(st.text(), st.text(), st.text(), st.sampled_from(["wrong", "tone", "thumb"]))
def test_any_text_gets_a_blame_with_supports_between_0_and_1(question: str, better: str, prompt: str, reason: str) -> None:
    found = blame(Case(question, "answer", better, reason, "model", prompt), CORPUS)
    assert 0 <= found.prompt_support <= 1
    assert 0 <= found.best_support <= 1
    assert found == blame(Case(question, "answer", better, reason, "model", prompt), Corpus(CORPUS.passages))


# --- the shipped scenarios, whole -----------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.sampled_from(["returns", "boots", "lamps", "7", "14", "30 days"]), min_size=1).map(" ".join), max_size=12),
    st.sets(st.sampled_from(["returns", "boots", "lamps", "unknown"])),
    st.sets(st.sampled_from(["7", "14", "30", "99"])),
)
def test_the_nearest_that_state_some_numbers_are_those_of_all(texts: list[str], words: set[str], numbers: set[str]) -> None:
    corpus = Corpus([PolicyPassage(f"p{place}", "1" * 12, "", text) for place, text in enumerate(texts)])
    terms, stating = terms_in(" ".join(words)), frozenset(numbers)
    wanted = [found for found in corpus.nearest(terms) if stating <= stated_in(found.passage.text)]
    assert [*corpus.nearest(terms, stating=stating)] == wanted


def _scenario(name: str) -> tuple[Scenario, Corpus]:
    file = packaged(f"{name}/scenario.yaml")
    scenario = load_scenario(file)
    passages = [
        passage
        for page in sorted(policy_folder(file, scenario).glob("*.md"))
        for text in [page.read_text(encoding="utf-8")]
        for passage in passages_of(page.name, policy_version(text), text, 700)
    ]
    return scenario, Corpus(passages)


def _asked(scenario: Scenario, question: ScenarioQuestion, shown: PolicyPassage, better: str) -> Case:
    messages = build_messages((ChatMessage(role="user", content=question.ask[0]),), [shown.text], default_language=scenario.language)
    return Case(question.ask[0], "no", better, "wrong", "model", messages[0].content, ((shown.policy_id, shown.version),))


@pytest.mark.parametrize("name", ["harbour-shop", "harbour-shop-zh"])
def test_every_question_of_the_scenarios_is_blamed_rightly(name: str) -> None:
    scenario, corpus = _scenario(name)
    chance = random.Random(1)
    for question in scenario.trainable:
        holding = [
            p
            for p in corpus.passages
            if p.policy_id == question.policy and judge(p.text, question.model_copy(update={"forbid": ()}), scenario.language)
        ]
        other = chance.choice([p for p in corpus.passages if p not in holding])
        correction = question.correction or ""
        assert any(blame(_asked(scenario, question, p, correction), corpus).fault is Fault.GENERATION for p in holding), question.id
        assert blame(_asked(scenario, question, other, correction), corpus).fault is Fault.RETRIEVAL_MISS, question.id
        made_up = wrong_correction(scenario, question, chance)
        assert blame(_asked(scenario, question, holding[0], made_up), corpus).fault is not Fault.GENERATION, question.id
