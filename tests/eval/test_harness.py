"""lm-eval on local questions: scores against a computation by hand, subjects, the light part, resuming."""

import json
import shutil
from typing import ClassVar

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval import harness
from eval.harness import Settings, run_benchmarks
from eval.models import Evaluated
from eval.suites import benchmarks
from megatron_recipe.errors import ConfigError, DataError

pytest.importorskip("lm_eval.models.huggingface", reason="the extra `eval` is not installed")

LETTERS = "ABCD"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Made-up questions: 6 in ARC's form, and in MMLU's 12 of each of three subjects."""
    folder = tmp_path_factory.mktemp("evalsets")
    arc = [
        {
            "question": f"what does {name} do?",
            "choices": {"label": list("1234"), "text": [f"{name} {end}" for end in ("x", "yy", "returns", "if not")]},
            "answerKey": str(1 + index % 4),
        }
        for index, name in enumerate(("def", "self", "return", "参数", "训练", "class"))
    ]
    mmlu = [
        {"question": f"{subject} {index}", "subject": subject, "choices": ["a", "b", "c", "d"], "answer": index % 4}
        for subject in ("anatomy", "astronomy", "virology")
        for index in range(12)
    ]
    for name, rows in (("arc_easy/test", arc), ("mmlu/test", mmlu), ("mmlu/dev", mmlu)):
        file = folder / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def few_subjects(monkeypatch):
    names = [f"mmlu_{subject}" for subject in ("anatomy", "astronomy", "virology")]
    whole = harness.task_names
    monkeypatch.setattr(harness, "task_names", lambda one, manager: names if one.subjects else whole(one, manager))


def choice_scores(model_dir, question: str, choices: list[str]) -> list[float]:
    """Log-probability of each choice after the question, as lm-eval's ARC asks it, by transformers alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_dir).eval(), AutoTokenizer.from_pretrained(model_dir)
    scores = []
    context = f"Question: {question}\nAnswer:"
    for choice in choices:
        whole = tokenizer(f"{context} {choice}")["input_ids"]
        answer = len(whole) - len(tokenizer(context)["input_ids"])
        whole = whole[-(model.config.max_position_embeddings + 1) :]
        with torch.inference_mode():
            log_p = model(torch.tensor([whole[:-1]])).logits[0].log_softmax(-1)
        scores.append(sum(float(log_p[-i, whole[-i]]) for i in range(1, answer + 1)))
    return scores


def test_scores_are_those_of_a_computation_by_hand(model_dir, data_dir, tmp_path):
    rows = [json.loads(line) for line in (data_dir / "arc_easy/test.jsonl").read_text(encoding="utf-8").splitlines()]
    right, normalised = 0, 0
    for row in rows:
        choices = row["choices"]["text"]
        scores = choice_scores(model_dir, row["question"], choices)
        per_character = [score / len(choice) for score, choice in zip(scores, choices, strict=True)]
        gold = int(row["answerKey"]) - 1
        right += scores.index(max(scores)) == gold
        normalised += per_character.index(max(per_character)) == gold
    model = Evaluated(model_dir, model_dir)
    result = run_benchmarks(model, [benchmarks()["arc_easy"]], Settings(data_dir), tmp_path / "out.json")
    entry = result["tasks"]["arc_easy"]
    assert entry["metrics"]["acc"] == pytest.approx(right / 6)
    assert entry["score"] == entry["metrics"]["acc_norm"] == pytest.approx(normalised / 6)
    assert entry["stderr"] == pytest.approx((entry["score"] * (1 - entry["score"]) / 5) ** 0.5)
    assert (entry["questions"], entry["of"], entry["split"]) == (6, 6, "test")


def test_subjects_and_the_light_part_and_what_is_done_is_not_done_again(
    model_dir, data_dir, tmp_path, few_subjects, monkeypatch, capsys
):
    model, out = Evaluated(model_dir, model_dir), tmp_path / "out.json"
    chosen = [benchmarks()["mmlu"], benchmarks()["mmlu_light"]]
    settings = Settings(data_dir, batch_size="4")
    first = run_benchmarks(model, chosen, settings, out)
    whole, light = first["tasks"]["mmlu"], first["tasks"]["mmlu_light"]
    assert (whole["questions"], light["questions"]) == (36, 36)  # 3 of each answer and subject are all there are
    assert whole["score"] == light["score"] == pytest.approx(sum(s["acc"] for s in whole["subjects"].values()) / 3)
    assert set(whole["subjects"]) == {"anatomy", "astronomy", "virology"}
    monkeypatch.setattr(harness.Harness, "run", None)  # whatever runs now fails
    assert run_benchmarks(model, chosen, settings, out) == json.loads(out.read_text(encoding="utf-8")) == first
    assert capsys.readouterr().err.count("done before") == 2
    with pytest.raises(TypeError):
        run_benchmarks(model, chosen, Settings(data_dir, "4", limit=2), out)


def test_five_worked_examples_come_before_each_question(model_dir, data_dir, tmp_path, few_subjects, monkeypatch):
    from lm_eval.api.model import LM

    class Recorder(LM):
        """Believes in B, and keeps what it was asked."""

        asked: ClassVar[list[tuple[str, str]]] = []

        def loglikelihood(self, requests):
            self.asked.extend(request.args for request in requests)
            return [(float(answer == " B"), True) for _, answer in (request.args for request in requests)]

        loglikelihood_rolling = generate_until = None

    monkeypatch.setattr(harness.Harness, "_language_model", lambda self: Recorder())
    model = Evaluated(model_dir, model_dir)
    result = run_benchmarks(model, [benchmarks()["mmlu"]], Settings(data_dir), tmp_path / "out.json")
    entry = result["tasks"]["mmlu"]
    assert (entry["score"], entry["shots"]) == (0.25, 5)
    choices = "A. a\nB. b\nC. c\nD. d\nAnswer:"
    examples = "".join(f"astronomy {index}\n{choices} {LETTERS[index % 4]}\n\n" for index in range(5))
    title = "The following are multiple choice questions (with answers) about astronomy.\n\n"
    for index in range(12):
        for letter in LETTERS:
            assert (f"{title}{examples}astronomy {index}\n{choices}", f" {letter}") in Recorder.asked
    assert len(Recorder.asked) == 3 * 12 * 4


def test_mistakes_are_named_before_anything_runs(model_dir, data_dir, tmp_path, few_subjects):
    model = Evaluated(model_dir, model_dir)
    with pytest.raises(DataError, match=r"(?s)piqa: no .*lambada: no "):
        chosen = [benchmarks()[name] for name in ("piqa", "arc_easy", "lambada")]
        run_benchmarks(model, chosen, Settings(data_dir), tmp_path / "out.json")
    with pytest.raises(ConfigError, match="--batch-size=many must be auto or a number"):
        run_benchmarks(model, [benchmarks()["mmlu"]], Settings(data_dir, "many"), tmp_path / "out.json")
    with pytest.raises(ConfigError, match="--limit does not go with mmlu_light"):
        run_benchmarks(model, [benchmarks()["mmlu_light"]], Settings(data_dir, limit=3), tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_scores_of_other_weights_are_moved_aside(model_dir, data_dir, tmp_path):
    out, other = tmp_path / "out.json", shutil.copytree(model_dir, tmp_path / "other")
    arc, part = [benchmarks()["arc_easy"]], Settings(data_dir, limit=2)
    run_benchmarks(Evaluated(model_dir, model_dir), arc, part, out)
    before = out.read_text()
    (other / "model.safetensors").touch()
    result = run_benchmarks(Evaluated(other, other), arc, part, out)
    (aside,) = tmp_path.glob("out-*.json")
    assert result["model"] == str(other) and aside.read_text() == before
    out.write_text('{"tasks": {"arc_')
    with pytest.raises(DataError, match=r"out.json: holds no scores of `eval run`.*move it away"):
        run_benchmarks(Evaluated(other, other), arc, part, out)
    assert out.read_text() == '{"tasks": {"arc_'


def test_one_question_has_no_spread_and_odd_questions_are_named(model_dir, data_dir, tmp_path):
    model, arc = Evaluated(model_dir, model_dir), [benchmarks()["arc_easy"]]
    one = run_benchmarks(model, arc, Settings(data_dir, limit=1), tmp_path / "one.json")
    assert one["tasks"]["arc_easy"]["stderr"] is None
    file = tmp_path / "evalsets/arc_easy/test.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"a": 1}\n')
    with pytest.raises(DataError, match=r"arc_easy: lm-eval cannot ask the questions in .*eval download"):
        run_benchmarks(model, arc, Settings(tmp_path / "evalsets"), tmp_path / "odd.json")


def test_results_beside_the_weights_are_no_other_weights(model_dir, data_dir, tmp_path):
    own = shutil.copytree(model_dir, tmp_path / "own")
    out, part = own / "scores.json", Settings(data_dir, limit=2)
    first = run_benchmarks(Evaluated(own, own), [benchmarks()["arc_easy"]], part, out)
    again = run_benchmarks(Evaluated(own, own), [benchmarks()["arc_easy"]], part, out)
    assert first == again and not list(own.glob("scores-*"))
    out.write_text(json.dumps({name: value for name, value in first.items() if name != "weights"}))
    assert run_benchmarks(Evaluated(own, own), [benchmarks()["arc_easy"]], part, out)["tasks"] == first["tasks"]
