"""Planted items are all found, wherever they are; overlaps are those of sets of plain tuples of words."""

import json
import random

import pytest
from datatrove.data import Document
from datatrove.pipeline.writers import JsonlWriter
from made_texts import make_document
from plain_ngrams import plain_ngrams

from data_prep.decontaminate.decontaminate import Decontaminate
from data_prep.decontaminate.index import MAX_ITEMS, EvaluationSet, Index, build_index
from megatron_recipe.errors import DataError

PROMPT = "Read the following question with care and then choose the one best answer among the options given below it"
ITEMS = [
    *({"question": make_document(1000 + n, "zh" if n % 2 else "en", 3), "note": "short"} for n in range(40)),
    {"question": "Too short?", "note": "太短"},
    {"question": make_document(2000, "en", 2), "note": make_document(2001, "en", 40)},
]


@pytest.fixture
def index(tmp_path):
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS), encoding="utf-8")
    summaries = build_index([EvaluationSet(tmp_path / "quiz.jsonl")], tmp_path / "index")
    (tmp_path / "listing").mkdir()
    return tmp_path / "index", summaries


def run(index, texts, rank=0, **settings):
    """Ids that stay, and the list of overlaps."""
    listing = index.parent / "listing"
    block = Decontaminate(index, listing, **settings)
    documents = [Document(text=text, id=f"d{number}") for number, text in enumerate(texts)]
    kept = [document.id for document in block.run(iter(documents), rank, 8)]
    overlaps = [json.loads(line) for line in (listing / f"{rank:05d}.jsonl").open(encoding="utf-8")]
    return kept, overlaps, block


def test_planted_items_are_all_found_and_nothing_else(index):
    generator = random.Random(1)
    texts, planted = [], {}
    for number in range(300):
        text = make_document(number, "zh" if number % 3 else "en", 20)
        if number % 4 == 0:
            item = generator.randrange(40)
            question = ITEMS[item]["question"]
            question = [question, question.upper().replace(",", " ;"), f"“{question}”\u3000"][number % 3]
            at = generator.choice([0, len(text), len(text) // 2])
            text = f"{text[:at]}\n{question}\n{text[at:]}"
            planted[f"d{number}"] = item
        texts.append(text)
    kept, overlaps, block = run(index[0], texts)
    assert set(kept) == {f"d{number}" for number in range(300)} - set(planted)
    dropped = {(r["id"], r["item"]) for r in overlaps if r["dropped"]}
    assert dropped == set(planted.items())
    assert all(r["share"] == 1.0 and r["field"] == "question" and r["set"] == "quiz.jsonl" for r in overlaps)
    assert block.stats["dropped_contaminated"].total == len(planted) == 75


def test_shares_and_texts_are_those_of_plain_sets(index):
    generator = random.Random(2)
    texts = [make_document(n, "en", 3) for n in range(30)]
    for number in range(30):
        question = ITEMS[number]["question"]
        length = int(len(question) * generator.uniform(0.2, 0.9))
        texts[number] += f"\n{question[:length]}\n{make_document(n := 500 + number, 'zh', 2)} {n}"
    _, overlaps, _ = run(index[0], texts)
    expected = {}
    for number, text in enumerate(texts):
        for place, item in enumerate(ITEMS):
            for field in ("question", "note"):
                wanted = set(plain_ngrams(item[field]))
                if common := wanted & set(plain_ngrams(text)):
                    expected[f"d{number}", place] = (len(common), round(len(common) / len(wanted), 4))
    assert {(r["id"], r["item"]): (r["ngrams"], r["share"]) for r in overlaps} == expected
    assert {r["dropped"] for r in overlaps} == {True, False}
    for record in overlaps:
        assert record["dropped"] == (record["share"] >= 0.5)
        assert set(plain_ngrams(record["text"])) <= set(plain_ngrams(ITEMS[record["item"]]["question"]))
        assert len(set(plain_ngrams(record["text"]))) == record["ngrams"] or len(record["text"]) == 400


def test_one_sentence_of_a_long_passage_is_listed_and_stays(index):
    passage = ITEMS[-1]["note"]
    kept, overlaps, _ = run(index[0], [passage[: len(passage) // 8], passage])
    assert kept == ["d0"]
    assert [r["dropped"] for r in overlaps] == [False, True]
    kept, _, _ = run(index[0], [passage[: len(passage) // 8]], min_share=0.01)
    assert kept == []


def test_a_leaked_question_beside_a_passage_that_did_not_leak_is_found(index):
    kept, overlaps, _ = run(index[0], [ITEMS[-1]["question"]])
    assert kept == []
    assert [(r["item"], r["field"]) for r in overlaps] == [(len(ITEMS) - 1, "question")]


def test_items_too_short_and_templates_are_counted(tmp_path):
    rows = [{"text": f"{PROMPT}: {make_document(n, 'en', 2)}"} for n in range(MAX_ITEMS + 1)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(
        json.dumps({"text": PROMPT}) + '\n{"text": "short"}\n{"n": 1}\n', encoding="utf-8"
    )
    sets = [EvaluationSet(tmp_path / "a.jsonl"), EvaluationSet(tmp_path / "b.jsonl")]
    many, few = build_index(sets, tmp_path / "index")
    prompts = len(plain_ngrams(PROMPT))
    assert (many.items, many.short_items, many.template_ngrams) == (len(rows), 0, prompts * len(rows))
    assert many.ngrams == sum(len(set(plain_ngrams(row["text"]))) - prompts for row in rows)
    assert (few.items, few.short_items, few.ngrams, few.template_ngrams) == (3, 2, prompts, 0)
    (tmp_path / "listing").mkdir()
    _, overlaps, _ = run(tmp_path / "index", [PROMPT])
    assert [(r["set"], r["item"]) for r in overlaps] == [("b.jsonl", 0)]


def test_the_index_finds_each_ngram_with_all_its_owners(index):
    whole = Index(index[0])
    positions, owners = whole.hits(whole.hashes[::-1].copy())
    pairs = set(zip(whole.hashes[::-1][positions].tolist(), owners.tolist(), strict=True))
    assert pairs == set(zip(whole.hashes.tolist(), whole.owners.tolist(), strict=True))


def test_odd_documents_pass_and_any_cut_into_batches_lists_the_same(index, monkeypatch):
    question = ITEMS[0]["question"]
    texts = ["", "字", "\ud800" * 40, "\n\n", f"\ud800 {question} \udfff", *[question] * 3, "x " * 5000] * 20
    kept, overlaps, _ = run(index[0], texts)
    assert len(kept) == 5 * 20
    monkeypatch.setattr("data_prep.decontaminate.decontaminate.BATCH_CHARACTERS", 1)
    assert run(index[0], texts, rank=1)[:2] == (kept, overlaps)


def test_an_item_of_short_texts_is_found_by_one_of_them_and_only_whole(tmp_path):
    answers = ["the man who was born in New York in 1819", "somebody else"]
    rows = [
        {"question": "Who wrote the great novel about a white whale?", "choices": answers},
        {"question": "Who wrote Moby Dick?", "choices": answers},
        {"question": "下列城市中，哪一个是浙江省的省会？", "choices": ["杭州", "宁波"]},
        {"question": "Which is it of the four?", "choices": ["yes", "no"]},
        {"question": make_document(7, "en", 3), "choices": ["at the beginning of the very next fiscal year"]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (summary,) = build_index([EvaluationSet(tmp_path / "a.json")], tmp_path / "index")
    assert (summary.items, summary.short_items) == (5, 1)
    (tmp_path / "listing").mkdir()
    texts = [
        "He was the man who was born in New York in 1819, it is said.",
        "He was the man who was born in New York in 1820, it is said.",
        "Who wrote the great novel about a white whale? Melville.",
        "问题:下列城市中，哪一个是浙江省的省会？答案:杭州",
        "下列城市中，哪一个是浙江省的大城？",
        "Which is it of the four?",
        "at the beginning of the very next fiscal year",
    ]
    kept, overlaps, _ = run(tmp_path / "index", texts)
    assert kept == ["d1", "d4", "d5", "d6"]
    assert {(r["id"], r["item"]): (r["share"], r["dropped"]) for r in overlaps} == {
        ("d0", 1): (1.0, True),
        ("d1", 1): (0.6667, False),
        ("d2", 0): (1.0, True),
        ("d3", 2): (1.0, True),
        ("d4", 2): (0.3333, False),
    }


def test_a_short_text_that_is_part_template_is_not_looked_for(tmp_path):
    words = [f"{letter}{letter}" for letter in "abcdefghijk"]
    assert len(words) == MAX_ITEMS + 1
    rows = [{"text": f"Which of the following is an example of {word}?"} for word in words]
    rows.append({"text": "Which of these is the chemical sign of gold?"})
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (summary,) = build_index([EvaluationSet(tmp_path / "a.json")], tmp_path / "index")
    assert (summary.items, summary.short_items, summary.ngrams) == (len(rows), MAX_ITEMS + 1, 2)
    assert summary.template_ngrams == 2 * (MAX_ITEMS + 1)
    (tmp_path / "listing").mkdir()
    texts = [row["text"] for row in rows]
    assert run(tmp_path / "index", texts)[0] == [f"d{number}" for number in range(MAX_ITEMS + 1)]


def test_fields_that_no_file_of_a_set_has_are_an_error(tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a.json").write_text(json.dumps([{"prompt": ITEMS[0]["question"]}]), encoding="utf-8")
    (tmp_path / "sets" / "config.json").write_text("{}", encoding="utf-8")
    assert len(build_index([EvaluationSet(tmp_path / "sets", ("prompt",))], tmp_path / "index")) == 2
    for fields, message in ((("question",), "no item has text in question"), (("q", "a"), "no item has text in q, a")):
        with pytest.raises(DataError, match=message):
            build_index([EvaluationSet(tmp_path / "sets", fields)], tmp_path / "index")


def test_no_item_long_enough_drops_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("short", encoding="utf-8")
    (summary,) = build_index([EvaluationSet(tmp_path / "a.txt")], tmp_path / "index")
    assert (summary.items, summary.short_items) == (1, 1)
    (tmp_path / "listing").mkdir()
    assert run(tmp_path / "index", [make_document(1)])[:2] == (["d0"], [])


def test_dropped_documents_are_written_with_the_reason(index, tmp_path):
    writer = JsonlWriter(str(tmp_path / "dropped"), "${rank}.jsonl", compression=None)
    run(index[0], [ITEMS[0]["question"], "something else"], exclusion_writer=writer)
    (record,) = [json.loads(line) for line in (tmp_path / "dropped" / "00000.jsonl").open(encoding="utf-8")]
    assert (record["id"], record["metadata"]["filter_reason"]) == ("d0", "contaminated")
