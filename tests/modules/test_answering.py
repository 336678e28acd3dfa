"""Several texts a question: those of the definition, thought once, counted by majority and over runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.datamodules import JSONReasoning
from lcot.errors import UserError
from lcot.modules import Backbone, Coconut, Halting, Voting
from lcot.modules.base import ReasoningModule
from lcot.modules.evaluation import Answers, Votes
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import Draws, Sampling, decode
from lcot.reasoning.think import Thinking, think
from tests.modules.test_coconut import EXAMPLES, build
from tests.tiny import write_records
from tests.training import stages, tiny_data, tiny_module, tiny_trainer

SAMPLING = Sampling(1.2, top_k=20, seed=6, repetition_penalty=1.1)


def questions(builder: Any, plan: Sequence[int] = (2, 0, 3, 1, 2)) -> ThoughtBatch:
    """Prompts with these numbers of thoughts; their places in the data are multiples of 7."""
    examples = [EXAMPLES[place % 2] for place in range(len(plan))]
    pieces = builder.encode(examples)
    rows = [builder.prompt(piece, thoughts) for piece, thoughts in zip(pieces, plan, strict=True)]
    index = [7 * place for place in range(len(plan))]
    return collate(rows, builder.special.pad, index, examples=examples)


def sampled(voting: Voting | None = None, halting: Halting | None = None, kind: type[Coconut] = Coconut) -> Any:
    """A module that samples, and its questions."""
    module, builder = build(halting)
    made = kind(module.backbone, max_new_tokens=6, sampling=SAMPLING, voting=voting, halting=halting)
    assert module.tokenizer is not None and module.special is not None
    made.attach(module.tokenizer, module.special, module.text)
    made.model = module.model
    made.configure_model()
    return made.eval(), questions(builder)


def by_definition(module: Coconut, batch: ThoughtBatch, paths: int = 1) -> list[list[list[list[int]]]]:
    """Runs, votes, questions: each text alone, with a thinking of its own."""
    assert module.model is not None and module.special is not None
    voting, runs = module.voting, []
    for run in range(voting.runs):
        votes = []
        for path in range(paths):
            for sample in range(voting.samples):
                texts = []
                for row in range(len(batch)):
                    alone = batch.select([row])
                    draws = [Draws(SAMPLING.seed + run, int(batch.index[row]), path, sample)]
                    with torch.no_grad():
                        thinking = (
                            module.path(alone, path)
                            if isinstance(module, Several)
                            else next(module.thinkings(alone, 1))
                        )
                        texts += decode(
                            module.model,
                            thinking,
                            max_new_tokens=6,
                            eos=module.special.eos,
                            sampling=SAMPLING,
                            draws=draws,
                        )
                votes.append(texts)
        runs.append(votes)
    return runs


class Several(Coconut):
    """Reads another token at bot on each of its three paths; two of them in one thinking."""

    @property
    def thought_paths(self) -> int:
        return 3

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        yield self.path(batch, *range(min(paths, 2)))
        if paths == 3:
            yield self.path(batch, 2)

    def path(self, batch: ThoughtBatch, *paths: int) -> Thinking:
        """Some of the paths, those of a row one behind another."""
        assert self.model is not None
        wide = batch.select([row for row in range(len(batch)) for _ in paths])
        ids = wide.input_ids.clone()
        ids[:, wide.first - 1] = torch.tensor([5 + path for _ in range(len(batch)) for path in paths])
        return think(self.model, replace(wide, input_ids=ids), keep_cache=True)


def tokens(votes: Votes) -> list[list[list[list[int]]]]:
    return [[answers.tokens for answers in run] for run in votes.runs]


@pytest.mark.parametrize("rows", [0, 10, 64], ids=lambda rows: f"{rows} at once")
@pytest.mark.parametrize("halting", [None, Halting(max_thoughts=3)], ids=["fixed", "free"])
def test_texts_are_those_of_the_definition(rows: int, halting: Halting | None) -> None:
    module, batch = sampled(Voting(samples=3, runs=2), halting)
    module._rows_at_once = rows
    expected = by_definition(module, batch)
    assert len({str(texts) for run in expected for texts in run}) == 6
    votes = module.answers(batch)
    assert tokens(votes) == expected
    assert all(answers.thoughts.tolist() == votes.runs[0][0].thoughts.tolist() for answers in votes.every)
    assert votes.seconds > 0 and len({answers.seconds for answers in votes.every}) == 1


def test_compiled_texts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    module, batch = sampled(Voting(samples=2, runs=2))
    expected = by_definition(module, batch)
    module.compiled_decoding = True
    for module._rows_at_once in (0, 16):
        assert tokens(module.answers(batch)) == expected
    assert module._one_column is not None and {shape[0] for shape in module._one_column.shapes} == {8, 16}


@pytest.mark.parametrize("rows", [0, 60], ids=lambda rows: f"{rows} at once")
def test_votes_of_thought_paths(rows: int) -> None:
    module, batch = sampled(Voting(samples=2, runs=2), kind=Several)
    module._rows_at_once = rows
    expected = by_definition(module, batch, paths=3)
    assert len({str(texts) for run in expected for texts in run}) == 12
    assert tokens(module.answers(batch)) == expected
    assert module.decoding("test")["votes"] == 6 and module.decoding("val")["votes"] == 1
    assert module.answer(batch).tokens == expected[0][0], "validation takes the first path's first text"


def test_paths_may_vote_greedily() -> None:
    module, batch = sampled(kind=Several)
    module.sampling = Sampling()
    (run,) = tokens(module.answers(batch))
    assert len(run) == 3 and len({str(texts) for texts in run}) > 1 and run[0] == module.answer(batch).tokens


def test_a_sample_is_the_same_however_many_there_are() -> None:
    module, batch = sampled(Voting(samples=4, runs=2))
    many = tokens(module.answers(batch))
    module.voting = Voting(samples=2)
    assert tokens(module.answers(batch)) == [many[0][:2]]
    module.voting, module.sampling = Voting(samples=3), replace(SAMPLING, seed=SAMPLING.seed + 1)
    assert tokens(module.answers(batch)) == [many[1][:3]]
    module.voting = Voting()
    assert tokens(module.answers(batch)) == [many[1][:1]]


def test_one_text_a_question_is_that_of_a_single_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = sampled()
    given = Answers([[7]], torch.tensor([0]), 1.0)
    monkeypatch.setattr(Coconut, "answer", lambda self, batch: given)
    assert module.answers(batch) == Votes(((given,),))


def test_questions_are_thought_about_once() -> None:
    module, batch = sampled(Voting(samples=4, runs=3))
    asked: list[int] = []
    inner = module.thinkings

    def thinkings(batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        asked.append(len(batch))
        yield from inner(batch, paths)

    module.thinkings = thinkings
    module.answers(batch)
    assert asked == [5]


# -- by the trainer ---------------------------------------------------------------------------------------------------


def evaluated(folder: Path, voting: Voting | None, size: int = 5) -> tuple[Any, Any, Any]:
    """A trainer, a module that samples, and seven questions whose answers are small numbers."""
    records = [{"question": f"a b {'c ' * row}", "steps": ["d e", "f"], "answer": str(row % 3 + 1)} for row in range(7)]
    path = str(write_records(folder / "numbers.json", *records))
    module = tiny_module(max_new_tokens=8, sampling=Sampling(1.0, seed=2), voting=voting)
    data = JSONReasoning(train_path=path, val_path=path, test_path=path, batch_size=4, eval_batch_size=size)
    return tiny_trainer(folder, stages(), max_epochs=3), module, data


def spoken(module: Any) -> None:
    """Let every text be an answer that depends on all its tokens: one of three, or none."""

    def decode_texts(answers: Answers) -> list[str]:
        return [f"### {sum(row) % 4}" if sum(row) % 4 else "nothing" for row in answers.tokens]

    module.decode_texts = decode_texts


def test_metrics_are_those_of_the_records(tmp_path: Path) -> None:
    results, written = [], []
    for size in (5, 2):
        trainer, module, data = evaluated(tmp_path, Voting(samples=3, runs=4), size)
        spoken(module)
        (metrics,) = trainer.test(module, datamodule=data, verbose=False)
        records = [record for batch in trainer.predict(module, datamodule=data) for record in batch]
        rows = [json.loads(json.dumps(record)) for record in sorted(records, key=lambda record: record["index"])]
        written.append([{**record, "seconds": 0} for record in rows])
        results.append({name.removeprefix("test/"): value for name, value in metrics.items() if "seconds" not in name})
    assert written[0] == written[1] and results[0] == pytest.approx(results[1])
    assert results[0]["examples"] == 7
    (found, *_), records = results, written[0]
    answers = [answer for record in records for run in record["samples"] for answer in run["answers"]]
    assert len(answers) == 7 * 12 and found["answered"] == pytest.approx(
        sum(answer is not None for answer in answers) / len(answers)
    )
    assert 0 < found["answered"] < 1
    for record in records:
        assert [run["seed"] for run in record["samples"]] == [2, 3, 4, 5]
        first = record["samples"][0]
        assert (record["answer"], record["correct"]) == (first["answer"], first["correct"])
        assert record["output"] == first["outputs"][first["answers"].index(record["answer"])]
        for run in record["samples"]:
            assert len(run["outputs"]) == len(run["answers"]) == 3 and run["correct"] == (
                run["answer"] == record["gold"]
            )
    accuracies = [statistics.fmean(record["samples"][run]["correct"] for record in records) for run in range(4)]
    assert len(set(accuracies)) > 1
    assert found["accuracy"] == pytest.approx(statistics.fmean(accuracies))
    assert found["accuracy_std"] == pytest.approx(statistics.stdev(accuracies))


def rightly_answered(module: Coconut, chosen: Callable[[int], bool]) -> None:
    """Let some questions be answered with their gold answer, by their place in the data."""
    inner = module.answer

    def answer(batch: ThoughtBatch) -> Answers:
        given = inner(batch)
        assert module.tokenizer is not None
        for place, (index, example) in enumerate(zip(batch.index.tolist(), batch.examples, strict=True)):
            if chosen(index):
                given.tokens[place] = module.tokenizer(module.text.before_answer + example.answer)["input_ids"]
        return given

    module.answer = answer  # type: ignore[method-assign]


def test_pair_accuracy_is_that_of_the_records(tmp_path: Path) -> None:
    """However the two questions of a pair are shared out over batches."""
    found = []
    for size in (1, 3, 4):
        trainer, data = tiny_trainer(tmp_path, stages(), max_epochs=3), tiny_data(ask="both", eval_batch_size=size)
        module = tiny_module()
        rightly_answered(module, lambda index: index % 4 != 1)
        (metrics,) = trainer.test(module, datamodule=data, verbose=False)
        batches = trainer.predict(module, datamodule=data)
        assert batches is not None
        records = sorted((record for batch in batches for record in batch), key=lambda record: record["index"])
        pairs = [(records[place], records[place + 1]) for place in range(0, 10, 2)]
        assert all(own["pair"] == other["pair"] == own["id"] for own, other in pairs)
        assert all(own["gold"] != other["gold"] for own, other in pairs)
        both = statistics.fmean(own["correct"] and other["correct"] for own, other in pairs)
        assert metrics["test/pair_accuracy"] == pytest.approx(both) and metrics["test/pairs"] == 5
        found.append((both, metrics["test/accuracy"]))
    assert [both for both, _ in found] == [2 / 5] * 3 and [right for _, right in found] == pytest.approx([7 / 10] * 3)


def test_questions_without_their_other_one_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tiny_trainer(tmp_path, stages(), max_epochs=3, limit_test_batches=1)
    data = tiny_data(ask="both", eval_batch_size=3)
    (metrics,) = trainer.test(tiny_module(), datamodule=data, verbose=False)
    assert (metrics["test/pairs"], metrics["test/unpaired"], metrics["test/examples"]) == (1, 1, 3)
    assert "1 question whose other one was not asked counts in no pair" in caplog.text


def test_validation_takes_one_text(tmp_path: Path) -> None:
    found = []
    for voting in (None, Voting(samples=3, runs=2)):
        trainer, module, data = evaluated(tmp_path, voting)
        spoken(module)
        (metrics,) = trainer.validate(module, datamodule=data, verbose=False)
        found.append({name: value for name, value in metrics.items() if name != "val/seconds"})
    assert found[0] == found[1] and "val/accuracy_std" not in found[0]


def test_a_single_text_has_a_record_without_samples(tmp_path: Path) -> None:
    trainer, module, data = evaluated(tmp_path, None)
    assert all("samples" not in record for batch in trainer.predict(module, datamodule=data) for record in batch)


def test_greedy_texts_are_not_repeated() -> None:
    with pytest.raises(UserError, match="decoding is greedy"):
        Coconut(Backbone(config={"model_type": "gpt2"}), voting=Voting(runs=5))


def test_a_method_has_to_say_how_it_thinks() -> None:
    def loss(self: ReasoningModule, batch: ThoughtBatch) -> Any:
        raise AssertionError("never asked")

    mute: Any = type("Mute", (ReasoningModule,), {"loss": loss})
    with pytest.raises(TypeError, match=r"abstract method '?think"):
        mute(Backbone(config={"model_type": "gpt2"}), None, None, 4, None)
    spoken: Any = type("Spoken", (mute,), {"think": Coconut.think})
    assert spoken(Backbone(config={"model_type": "gpt2"}), None, None, 4, None).max_new_tokens == 4
