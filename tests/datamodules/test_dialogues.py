"""Data modules that ask chat models: tokenizers, rows of the assistant, and thoughts of another question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from lcot.datamodules import GSM8K, AQuA, Multiplication, StrategyQA
from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.rows import ListSource, RowForm, Source, StageDataset
from lcot.datamodules.sampler import RowKey
from lcot.errors import DataError, UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Curriculum, Fixed
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import Layout, LayoutBuilder
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokens import THOUGHT_TOKENS
from tests.chat import FAMILIES, chat_tokenizer
from tests.training import no_thoughts, tiny_data, tiny_module, tiny_trainer

SIZE = 7
FORMS: tuple[RowForm, ...] = ("train", "val", "prompt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Saved tokenizers of the families, by name."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for family in FAMILIES:
        chat_tokenizer(family).save_pretrained(folder / family)
    return {family: str(folder / family) for family in FAMILIES}


def example(number: int, epoch: int = 0) -> ReasoningExample:
    """A question that grows with its number."""
    question = f"How many are {' and '.join(['1'] * (number + 1))}?" + " Really?" * epoch
    return ReasoningExample(question, ("Count them.",), str(number + 1), str(number))


class Additions(ReasoningDataModule):
    """A few questions in each split."""

    default_extractors = ("last_number",)

    def make_source(self, split: Split) -> Source:
        return ListSource(example(number) for number in range(SIZE))

    def vocabulary(self) -> Iterable[str]:
        return [example(0).question, "Count them."]


class Growing(Additions):
    """Questions that are asked in other words at each visit."""

    def make_source(self, split: Split) -> Source:
        class Longer(ListSource):
            redraws = True

            def example(self, index: int, epoch: int) -> ReasoningExample:
                return example(index, epoch)

        return Longer([example(number) for number in range(SIZE)])


def soft(train: int = 3, inference: int | None = 2) -> Fixed:
    """SoftCoT's schedule."""
    return Fixed("none", train, "soft", inference_thoughts=inference)


def set_up(schedule: Curriculum, stage: str = "fit", kind: type[Additions] = Additions, **options: Any) -> Additions:
    """A data module with its trainer, as it is when fit or test begins."""
    data = kind(**{"batch_size": 3, "seed": 0, **options})
    data.trainer = trainer = tiny_trainer(Path(), schedule)
    trainer.state.fn = L.pytorch.trainer.states.TrainerFn(stage)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        callback.setup(trainer, tiny_module(), stage)
    data.setup(stage)
    return data


def llama(folders: dict[str, str], **options: Any) -> dict[str, Any]:
    """The options of a data module for one family."""
    return {"tokenizer": folders["llama3"], "dialogue": Dialogue("llama3/gsm8k", **options)}


def asked(batch: ThoughtBatch) -> list[list[int]]:
    """What the assistant reads, row by row, without padding."""
    assert batch.assistant is not None
    rows = zip(batch.assistant.input_ids, batch.assistant.attention_mask, strict=True)
    return [ids[mask].tolist() for ids, mask in rows]


class TestTokenizers:
    """Nothing is added to the vocabulary of a pretrained model."""

    def test_of_the_language_model(self, folders: dict[str, str]) -> None:
        data = Additions(**llama(folders))
        tokenizer = data.set_up_tokenizer()
        assert tokenizer.get_vocab() == chat_tokenizer("llama3").get_vocab()
        assert data.special is not None and data.special.added == ()
        names = [data.special.bot, data.special.eot, data.special.latent, data.special.pause, data.special.eos]
        assert tokenizer.convert_ids_to_tokens(names) == [
            "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|end_of_text|>", "<|end_of_text|>",
            "<|eot_id|>",
        ]  # fmt: skip

    def test_of_the_assistant(self, folders: dict[str, str]) -> None:
        same = Additions(**llama(folders))
        assert same.assistant_tokenizer is same.set_up_tokenizer()
        other = Additions(**llama(folders, assistant=folders["qwen25"], assistant_prompt="qwen25/gsm8k"))
        assert other.assistant_tokenizer is not None and other.assistant_special is not None
        assert other.assistant_tokenizer.get_vocab() == chat_tokenizer("qwen25").get_vocab()
        assert other.assistant_tokenizer is other.assistant_tokenizer  # loaded once
        slot = other.assistant_tokenizer.convert_tokens_to_ids("<|endoftext|>")
        assert (other.assistant_special.latent, other.assistant_special.pad) == (slot, slot)
        none = Additions()
        assert none.assistant_tokenizer is None and none.assistant_special is None

    def test_one_that_nobody_needs_is_not_loaded(self, folders: dict[str, str]) -> None:
        for schedule in (no_thoughts(), soft(0, 0)):
            set_up(schedule, **llama(folders, assistant="/nowhere/at/all"))
        with pytest.raises(UserError, match="/nowhere/at/all"):
            set_up(soft(), **llama(folders, assistant="/nowhere/at/all"))

    def test_one_of_another_family(self, folders: dict[str, str]) -> None:
        with pytest.raises(UserError, match="has no token") as caught:
            set_up(soft(), tokenizer=folders["qwen25"], dialogue=Dialogue("llama3/gsm8k"))
        assert "data.dialogue.prompt: llama3/gsm8k" in str(caught.value)
        with pytest.raises(UserError, match="has no token") as caught:
            set_up(soft(), **llama(folders, assistant=folders["qwen25"]))
        assert "set data.dialogue.assistant_prompt to" in str(caught.value)

    def test_one_that_is_made_of_words_is_nobodys_yet(self) -> None:
        data = tiny_data(dialogue=Dialogue("plain/prosqa"))
        tokenizer = data.set_up_tokenizer()
        assert set(THOUGHT_TOKENS) <= tokenizer.get_vocab().keys()
        assert data.special is not None and data.special.latent == tokenizer.convert_tokens_to_ids("<|pause|>")
        # The words of the prompt are words of the vocabulary too.
        wordy = Additions(dialogue=Dialogue("plain/yes_no")).set_up_tokenizer()
        assert len(wordy("Finished reasoning")["input_ids"]) == 2


class TestRows:
    """What loaders give."""

    @pytest.mark.parametrize(("stage", "split", "count"), [("fit", "train", 3), ("fit", "val", 2), ("test", "test", 2)])
    def test_each_split_has_its_number_of_thoughts(
        self, stage: str, split: Split, count: int, folders: dict[str, str]
    ) -> None:
        data = set_up(soft(), stage, **llama(folders, assistant=folders["qwen25"], assistant_prompt="qwen25/gsm8k"))
        batches: list[ThoughtBatch] = list(getattr(data, f"{split}_dataloader")())
        assert sorted(row for batch in batches for row in batch.index.tolist()) == list(range(SIZE))
        assert data.special is not None and data.assistant_special is not None
        for batch in batches:
            assert batch.thoughts.tolist() == [count] * len(batch)
            assert (batch.input_ids[:, batch.first : batch.first + count] == data.special.latent).all()
            assert (batch.labels >= 0).any() == (split != "test")
            assert batch.assistant is not None and batch.assistant.index.equal(batch.index)
            padding = batch.assistant.input_ids[~batch.assistant.attention_mask]
            assert (padding == data.assistant_special.pad).all()
            for number, ids in zip(batch.index.tolist(), asked(batch), strict=True):
                assert ids[-count:] == [data.assistant_special.latent] * count
                assert data.assistant_tokenizer is not None
                assert f"problem: {example(number).question}." in data.assistant_tokenizer.decode(ids)

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_all_that_the_assistant_will_read_is_known_up_front(self, split: Split, folders: dict[str, str]) -> None:
        data = set_up(soft(), **llama(folders))
        rows = list(data.assistant_rows(split))
        read = {
            number: ids
            for batch in getattr(data, f"{split}_dataloader")()
            for number, ids in zip(batch.index.tolist(), asked(batch), strict=True)
        }
        assert [row.ids for row in rows] == [read[number] for number in range(SIZE)]
        assert data.longest_assistant == max(
            len(row.ids) for other in ("train", "val") for row in data.assistant_rows(other)
        )
        assert not data.redraws(split)

    def test_with_stages_it_reads_a_row_for_each_number(self, folders: dict[str, str]) -> None:
        schedule = Stepwise(kind="soft", max_stage=2, thoughts_per_step=2, epochs_per_stage=1)
        data = set_up(schedule, **llama(folders))
        assert [row.thoughts for row in data.assistant_rows("train")] == [2, 4] * SIZE
        assert list(set_up(soft(0, 0), **llama(folders)).assistant_rows("train")) == []

    def test_redrawn_questions(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), kind=Growing, **llama(folders))
        assert data.redraws("train")
        dataset = StageDataset(data.source("train"), data.builder(), soft(), 0, "train")
        for epoch in (0, 2):
            row = dataset[RowKey(epoch, 0, 4)][0]
            assert row.assistant is not None
            assert data.set_up_tokenizer().decode(row.assistant.ids).count("Really?") == epoch
            assert data.set_up_tokenizer().decode(row.ids).count("Really?") == epoch

    def test_a_row_is_a_function_of_its_key_alone(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), **llama(folders))
        source = data.source("train")
        keys = [RowKey(epoch, 0, row) for epoch in range(2) for row in range(SIZE)]
        made: list[list[Layout]] = []
        for _ in range(2):
            sets = [StageDataset(source, data.builder(), soft(), 0, form, shuffled=True) for form in FORMS]
            made.append([dataset[key][0] for dataset in sets for key in keys])
            assert [row for dataset in sets for row, _, _ in dataset.__getitems__(keys)] == made[-1]
        assert made[0] == made[1]

    def test_coconut_on_a_chat_model(self, folders: dict[str, str]) -> None:
        data = set_up(Stepwise(max_stage=1, thoughts_per_step=2, epochs_per_stage=1), **llama(folders))
        batch = next(iter(data.val_dataloader()))
        assert batch.assistant is None and batch.marked and isinstance(data.builder(), DialogueBuilder)
        assert data.longest_assistant == 0


class TestShuffled:
    """A control: the thoughts of another question."""

    def rows(self, data: Additions, form: RowForm, epoch: int = 0) -> list[Layout]:
        dataset = StageDataset(data.source("train"), data.builder(), soft(), 0, form, shuffled=True)
        return [row for row, _, _ in dataset.__getitems__([RowKey(epoch, 0, row) for row in range(SIZE)])]

    def test_never_its_own_and_nothing_else_changes(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), **llama(folders))
        own = list(data.assistant_rows("train"))
        plain = StageDataset(data.source("train"), data.builder(), soft(), 0, "train")
        partners = []
        for epoch in range(60):
            for number, row in enumerate(self.rows(data, "train", epoch)):
                usual = plain[RowKey(epoch, 0, number)][0]
                assert replace(row, views={}) == replace(usual, views={})
                assert row.assistant is not None
                partners.append((number, own.index(row.assistant)))
        assert all(number != partner for number, partner in partners)
        assert set(partners) == {(a, b) for a in range(SIZE) for b in range(SIZE) if a != b}

    def test_evaluation_is_the_same_in_every_epoch(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), **llama(folders))
        for form in FORMS[1:]:
            assert self.rows(data, form, 0) == self.rows(data, form, 5)
        assert self.rows(data, "train", 0) != self.rows(data, "train", 5)

    def test_redrawn_questions_are_those_of_the_same_epoch(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), kind=Growing, **llama(folders))
        for row in self.rows(data, "train", 3):
            assert row.assistant is not None
            assert data.set_up_tokenizer().decode(row.assistant.ids).count("Really?") == 3

    def test_loaders_do_it(self, folders: dict[str, str]) -> None:
        usual, shuffled = (set_up(soft(), shuffled_thoughts=chosen, **llama(folders)) for chosen in (False, True))
        for one, other in zip(usual.val_dataloader(), shuffled.val_dataloader(), strict=True):
            assert one.input_ids.equal(other.input_ids)
            assert all(mine != theirs for mine, theirs in zip(asked(one), asked(other), strict=True))
        # What is computed up front does not change.
        assert list(usual.assistant_rows("train")) == list(shuffled.assistant_rows("train"))

    def test_there_must_be_thoughts_and_another_question(self, folders: dict[str, str]) -> None:
        with pytest.raises(UserError, match="shuffled_thoughts is true, and the kind of thought is 'none'"):
            set_up(no_thoughts(), shuffled_thoughts=True, **llama(folders))

        class One(Additions):
            def make_source(self, split: Split) -> Source:
                return ListSource([example(0)])

        data = set_up(soft(), kind=One, shuffled_thoughts=True, **llama(folders))
        with pytest.raises(UserError, match="the train split has one example"):
            data.train_dataloader()


class TestChecks:
    """What is refused before anything is trained."""

    def test_soft_thoughts_without_a_dialogue(self) -> None:
        with pytest.raises(UserError, match="the kind of thought is 'soft', and there is no dialogue"):
            set_up(soft())

    def test_gold_answers_are_read_where_the_solution_says_them(self, folders: dict[str, str]) -> None:
        set_up(soft(), "test", **llama(folders))
        with pytest.raises(DataError, match="the extractor 'string' reads None where the gold answer is '1'"):
            set_up(soft(), "test", extractors=["string"], **llama(folders))

    def test_rows_that_are_too_long(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), **llama(folders))
        longest, row = data.longest_assistant, data._longest.row
        assert 0 < longest != row
        limit = max(longest, row)
        set_up(soft(), max_length=limit, **llama(folders))
        with pytest.raises(DataError, match=f"takes {limit} tokens.*and the limit is {limit - 1}"):
            set_up(soft(), max_length=limit - 1, **llama(folders))
        dropped = set_up(soft(), max_length=limit - 1, too_long="drop", **llama(folders))
        assert len(dropped.source("train")) == SIZE - 1

    def test_the_assistants_rows_count_alone(self, folders: dict[str, str]) -> None:
        blind = llama(folders, question="assistant")
        data = set_up(soft(), **blind)
        data.check_assistant_context(data.longest_assistant)
        with pytest.raises(DataError, match=f"the assistant's longest row takes {data.longest_assistant} positions"):
            data.check_assistant_context(data.longest_assistant - 1)
        with pytest.raises(DataError, match="it has 9999"):
            data.check_assistant_context(9999, new_tokens=9999)
        builder: LayoutBuilder = data.builder()
        row = builder.prompt(builder.encode([example(3)])[0], 2)
        assert row.assistant is not None
        builder.max_assistant_length = len(row.assistant.ids) - 1
        with pytest.raises(DataError, match=f"takes {len(row.assistant.ids)} tokens of the assistant, and the limit"):
            builder.check_row(row, example(3))

    def test_redrawn_questions_that_outgrow_the_assistant(self, folders: dict[str, str]) -> None:
        data = set_up(soft(), kind=Growing, **llama(folders))
        data.check_assistant_context(data.longest_assistant)
        loader = data.train_dataloader()
        dataset: Any = loader.dataset
        dataset[RowKey(0, 0, SIZE - 1)]
        with pytest.raises(DataError, match="of the assistant, and the limit is"):
            dataset[RowKey(1, 0, SIZE - 1)]


@pytest.mark.parametrize(
    ("kind", "prompt", "extractors"),
    [
        (Additions, "chat/steps", ("boxed",)),
        (GSM8K, "chat/math", ("boxed",)),
        (Multiplication, "chat/math", ("boxed",)),
        (AQuA, "chat/choice", ("choice",)),
        (StrategyQA, "chat/yes_no", ("yes_no",)),
    ],
)
def test_chat_is_the_prompt_for_the_data_sets_questions_and_says_how_they_are_read(
    kind: type[ReasoningDataModule], prompt: str, extractors: tuple[str, ...]
) -> None:
    data = kind(dialogue=Dialogue("chat", assistant_prompt="chat"))
    assert data.dialogue == Dialogue(prompt, assistant_prompt=prompt)
    assert data.extractors == extractors
    assert kind(dialogue=Dialogue("chat"), extractors=["number"]).extractors == ("number",)
    assert kind(dialogue=Dialogue("plain/math")).extractors == kind.default_extractors == kind().extractors


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_chosen_for_a_tokenizer_is_said(
    family: str, folders: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="lcot"):
        data = Additions(tokenizer=folders[family], dialogue=Dialogue("chat"))
        tokenizer = data.set_up_tokenizer()
    (record,) = caplog.records
    assert data.special is not None
    names = tokenizer.convert_ids_to_tokens([data.special.eos, data.special.bot, data.special.eot])
    assert all(repr(name) in record.getMessage() for name in names)
    assert "turns by the tokenizer's chat template" in record.getMessage()
    Additions(tokenizer=folders[family], dialogue=Dialogue(f"{family}/gsm8k")).set_up_tokenizer()
    assert len(caplog.records) == 1, "a prompt that names all its tokens leaves nothing to be said"
