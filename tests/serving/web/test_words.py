"""Stored values become the words that a reader sees."""

import re
from dataclasses import replace

import pytest

from firstread.messages import Language, catalogue, sentence
from inference.gate.reasons import Code
from serving.events.log import Event, Kind
from serving.web.words import (
    AiForm,
    ai_words,
    event_words,
    person_name,
    person_words,
    reason_words,
    why_words,
)
from serving.worklist.placing import CaseFacts, Score, judge_urgency
from serving.worklist.states import AiState, OrderedClass
from serving.worklist.storm_guard import Tally
from serving.worklist.summary import Failure, summarise, summarise_failure
from tests.serving.web.documents import a_document, a_finding, a_gap
from tests.serving.worklist.cases import POLICY

EN, ZH = Language.EN, Language.ZH_CN


@pytest.mark.parametrize(
    ("stored", "english", "chinese"),
    [
        ("WANG^WEI=王^伟", "WANG WEI (王伟)", "王伟"),
        ("王^伟", "王伟", "王伟"),
        ("=王^伟=", "王伟", "王伟"),
        ("Müller^Anna^^Dr", "Müller Anna Dr", "Müller Anna Dr"),
        ("", "", ""),
        ("^^^", "", ""),
    ],
)
def test_a_name_reads_as_its_language_writes_it(stored: str, english: str, chinese: str) -> None:
    assert person_name(stored, EN) == english
    assert person_name(stored, ZH) == chinese


@pytest.mark.parametrize(
    ("born", "seen", "said"),
    [
        ("19630412", "20260301", "Male 62 y"),
        ("19630301", "20260301", "Male 63 y"),
        ("", "20260301", "Male"),
        ("19639999", "20260301", "Male"),
        ("20270101", "20260301", "Male"),
    ],
)
def test_an_age_is_said_only_where_it_is_known(born: str, seen: str, said: str) -> None:
    assert person_words("M", born, seen, EN) == said


def test_an_unknown_sex_is_not_said() -> None:
    assert person_words("<b>", "", "", EN) == ""


def test_every_kind_of_end_has_a_form_of_its_own() -> None:
    found = ai_words(AiState.SCORED, summarise(a_document(a_finding(1, 7.0, 0.8))), EN)
    nothing = ai_words(AiState.SCORED, summarise(a_document()), EN)
    refused = summarise(a_document(status="resend", reasons=[a_gap(-100.0, 3)]))
    forms = [
        found.form, nothing.form,
        ai_words(AiState.NOT_ANALYSED, refused, EN).form,
        ai_words(AiState.ANALYSING, {}, EN).form,
    ]  # fmt: skip
    assert forms == list(AiForm)
    assert (found.say, nothing.say) == ("1 finding", "0 findings")


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("language", Language)
def test_a_failure_says_why_in_both_languages(failure: Failure, language: Language) -> None:
    said = ai_words(AiState.NOT_ANALYSED, summarise_failure(failure), language)
    assert said.form is AiForm.UNANALYSED
    assert said.sub
    assert not said.is_resend


def test_a_scored_case_with_a_gap_is_marked_incomplete() -> None:
    gap = a_document(status="limits", reasons=[a_gap(-100.0, 1)])
    said = ai_words(AiState.SCORED, summarise(gap), EN)
    assert said.marks == ("incomplete", "with limits")


def test_a_newer_analysis_names_the_older_result_and_a_first_one_none() -> None:
    older = summarise(a_document(a_finding(1, 7.0, 0.8)))
    assert ai_words(AiState.RECEIVING, older, EN).sub == "before: 1 finding"
    assert ai_words(AiState.RECEIVING, {}, EN).sub == ""


OLD = CaseFacts(OrderedClass.ROUTINE, 1_000_000.0, study_date="19700101")
LARGE = [a_finding(1, 20.0, 0.9)]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    "score",
    [None, Score([], 0.46), Score(LARGE, 0.46), Score([a_finding(1, 20.0, 0.3)], 0.46),
     Score([a_finding(1, 8.0, 0.9)], 0.46), Score(LARGE, None), Score(LARGE, 0.46, Tally(40, 100))],
)  # fmt: skip
def test_every_reason_has_its_sentence(language: Language, score: Score | None) -> None:
    facts = [CaseFacts(ordered, 0.0) for ordered in OrderedClass]
    facts += [OLD, replace(OLD, is_batch=True), replace(OLD, tier="county")]
    for one in facts:
        urgency = judge_urgency(POLICY, one, score)
        why_words(urgency.reasons, language).encode("gbk")


def test_an_old_study_with_a_finding_in_a_storm_says_all_of_it() -> None:
    urgency = judge_urgency(POLICY, OLD, Score(LARGE, 0.46, Tally(40, 100)))
    assert why_words(urgency.reasons, EN) == (
        "Finding of 20.0 mm, score 0.90; not raised: 40 of the last 100 cases were flagged, too "
        "many to be true; ordered routine; the study was 11 days old when it came: no hurry; "
        "to be opened within 1 d 0 h"
    )


@pytest.mark.parametrize(
    ("code", "minutes", "language", "said"),
    [
        ("due-always", 30.0, EN, "within 30 min"),
        ("due-always", 120.0, Language.ZH_CN, "应在 120 分钟内打开"),
        ("due-always", 150.0, EN, "within 2 h 30 min"),
        ("due-always", 1440.0, Language.ZH_CN, "应在 1 天 0 小时内打开"),
        ("due-open", 1440.0, EN, "within 24 h 0 min of reading hours"),
    ],
)
def test_a_long_wait_is_said_in_hours_or_days(
    code: str, minutes: float, language: Language, said: str
) -> None:
    assert said in reason_words({"code": code, "values": {"minutes": minutes}}, language)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    ("kind", "details"),
    [
        (Kind.RECEIVED, {"instances": 130}),
        (Kind.SETTLED, {"instances": 130}),
        (Kind.ANALYSING, {"attempt": 1}),
        (Kind.REQUEUED, {}),
        (Kind.POSTPONED, {}),
        (Kind.RETRIED, {}),
        (Kind.SCORED, {"findings": 2, "package": "lung_nodule@1.0.1"}),
        (Kind.NOT_ANALYSED, {"code": "slices-missing"}),
        (Kind.NOT_ANALYSED, {"code": "analysis-crashed"}),
        (Kind.SUPERSEDED, {"package": "lung_nodule@1.0.1"}),
        (Kind.CONFLICT, {"instances": 1}),
    ],
)
def test_everything_that_happens_has_its_sentence(
    language: Language, kind: Kind, details: dict[str, object]
) -> None:
    assert event_words(Event(1, "one", 1, 1, kind.value, details, 0.0), language)


@pytest.mark.parametrize("ordered", OrderedClass)
def test_a_class_has_one_word_in_chinese(ordered: OrderedClass) -> None:
    assert sentence(f"page.class.{ordered}", ZH) in sentence(f"page.why.ordered-{ordered}", ZH)


def test_what_the_ai_marked_is_called_no_lesion() -> None:
    # 病灶 is a radiologist's judgement.
    assert not [key for key, said in catalogue(ZH).items() if "病灶" in said]
    assert ai_words(AiState.SCORED, summarise(a_document()), ZH).say == "检出 0 处"


def test_a_side_that_is_not_known_is_told_apart_from_the_zone() -> None:
    side = sentence("page.side.undetermined", ZH)
    place = sentence("page.place", ZH, side=side, zone=sentence("page.zone.upper", ZH))
    assert place == "侧别不明，上三分之一"


@pytest.mark.parametrize("language", Language)
def test_history_tells_every_verdict_in_words_of_its_own(language: Language) -> None:
    codes = [*Code, "a-code-of-another-version"]
    said = [
        event_words(Event(1, "one", 1, 1, "not-analysed", {"code": code}, 0.0), language)
        for code in codes
    ]
    assert len(set(said)) == len(codes)
    assert not [words for words in said if re.search(r"[a-z]-[a-z]", words)]
