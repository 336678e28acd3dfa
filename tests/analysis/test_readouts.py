"""The words in which concepts are named, and their tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcot.analysis.readouts import Readout, readout, readout_ids
from lcot.datamodules import Sums
from lcot.datamodules.tokenizers import load_tokenizer
from lcot.datamodules.word_problems.sums import Problem, render
from lcot.errors import UserError
from lcot.metrics.problem_graph import problem_graph
from lcot.reasoning.chat import ChatText
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens, prompt_tokens
from tests.analysis.machine import OX, builder_of, worked_tokenizer
from tests.chat import chat_tokenizer
from tests.models import word_tokenizer
from tests.places import SHARED
from tests.problems import PROOF, InOrder, worked

GPT2 = SHARED / "gpt2_tokenizer"
GRAPH = problem_graph(worked("prose", OX))
BARE = builder_of(worked_tokenizer())
LINES = builder_of(worked_tokenizer(), text=TextFormat())


def test_prose_forces_every_and_scores_the_depth_of_the_hidden_steps() -> None:
    first = readout(GRAPH, "prose", 0, LINES)
    assert (first.depth, first.lead, first.follows) == (1, "Tom is a", ".\n")
    later = [readout(GRAPH, "prose", hidden, LINES) for hidden in (1, 2)]
    assert [(form.depth, form.lead, form.follows) for form in later] == [(1, "Every", " is a"), (2, "Every", " is a")]
    assert later[0].names[2] == " lempus"


@pytest.mark.parametrize("surface", ["compact", "symbolic"])
def test_names_alone_are_one_edge_farther_on(surface: str) -> None:
    forms = [readout(GRAPH, surface, hidden, BARE) for hidden in (0, 1, 2)]  # type: ignore[arg-type]
    assert [(form.depth, form.lead, form.names[2]) for form in forms] == [(depth, "", "lempus") for depth in (1, 2, 3)]


def test_behind_the_name_of_a_sum_stands_a_colon() -> None:
    problem = Problem((12, 19, 14), 22)
    graph = problem_graph(render(problem, ("Anna", "Ben", "Carl", "Dan"), "shells", InOrder(), example_id="1"))
    builder = builder_of(Sums().set_up_tokenizer(), text=TextFormat())
    forms = [readout(graph, "sums", hidden, builder) for hidden in (0, 1)]
    names = ("Anna", "Ben", "Carl", "Dan")
    assert forms == [Readout(1, "", names, ":"), Readout(2, "", names, ":")]
    pieces = builder.tokenizer.convert_ids_to_tokens
    assert [pieces(ids) for ids in readout_ids(builder, forms)[0].names] == [[f"\u2581{name}"] for name in names]


def test_proofs_score_the_article_as_well() -> None:
    graph = problem_graph(PROOF)
    form = readout(graph, "proof", 1, LINES)
    assert (form.depth, form.lead) == (2, "Max is")
    named = dict(zip(graph.names, form.names, strict=True))
    assert (named["impus"], named["jompus"], named["not hot"]) == (" an impus", " a jompus", " not hot")


def test_tokens_of_words_and_of_a_spelled_name() -> None:
    tokenizer = worked_tokenizer()
    builder = builder_of(tokenizer)
    prose, compact = readout_ids(builder, [readout(GRAPH, "prose", 1, LINES), readout(GRAPH, "compact", 1, BARE)])
    pieces = tokenizer.convert_ids_to_tokens
    assert pieces(prose.lead) == ["▁Every"]
    assert compact.lead == []
    assert [pieces(ids) for ids in prose.names[2:4]] == [["▁lempus"], ["▁rompus"]]
    assert pieces(prose.names[-1]) == ["▁", "<0x6F>", "<0x78>"]
    assert pieces(compact.names[-1]) == ["▁", "<0x6F>", "<0x78>"]
    # as the steps of training have them
    assert compact.names[2] == builder.encode_step("lempus")
    assert prose.lead + prose.names[2] == builder.encode_step("Every lempus is a impus.")[:2]


def prompted(step: str) -> DialogueBuilder:
    """Lays out rows in the words of a prompt file that puts steps so."""
    tokenizer, prompt = chat_tokenizer("llama3"), replace(load_prompt("llama3/gsm8k"), step=step)
    model = ChatText(tokenizer, prompt_tokens(tokenizer, prompt), prompt)
    return DialogueBuilder(model, "continuous", Dialogue(prompt.name), markers="never")


def test_what_a_prompt_file_writes_around_a_step() -> None:
    numbered, bare = prompted("## Step {i}: {step}\n"), prompted("{step}")
    form = readout(GRAPH, "compact", 1, numbered)
    assert (form.depth, form.lead, form.names[2], form.follows) == (2, "## Step 2:", " lempus", "\n")
    first, later = (readout(GRAPH, "prose", hidden, numbered) for hidden in (0, 1))
    assert (first.lead, first.follows, later.lead) == ("## Step 1: Tom is a", ".\n", "## Step 2: Every")
    form = readout(GRAPH, "compact", 0, bare)
    assert (form.lead, form.names[2], form.follows) == ("", "lempus", "")
    for builder in (numbered, bare):
        (ids,) = readout_ids(builder, [readout(GRAPH, "compact", 1, builder)])
        step = builder.encode_step("lempus", 1)
        assert step[: len(ids.lead) + len(ids.names[2])] == ids.lead + ids.names[2]  # as in training


@pytest.mark.skipif(not GPT2.is_dir(), reason="the published tokenizer is not part of the project")
def test_tokens_of_gpt2_are_those_of_whole_steps() -> None:
    tokenizer = load_tokenizer(GPT2)
    builder = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "continuous", TextFormat())
    example = worked("prose")
    graph = problem_graph(example)
    for hidden, step in enumerate(example.steps):
        (ids,) = readout_ids(builder, [readout(graph, "prose", hidden, builder)])
        name = ids.names[graph.numbers["lempus" if hidden < 2 else "impus"]]
        assert len(name) > 1
        assert builder.encode_step(step)[: len(ids.lead) + len(name)] == ids.lead + name


def test_a_name_that_is_joined_with_what_follows_is_refused() -> None:
    words = ["<unk>", "<s>", "</s>", "<pad>", "Tom", "is", "a", "Every", "lempus", "lempus."]
    builder = LayoutBuilder(word_tokenizer(words), SpecialTokens(0, 0, 0, 0, 2, 3), "continuous")
    fine = Readout(1, "Every", (" lempus",), " is a")
    assert readout_ids(builder, [fine])[0].names == [[8]]
    with pytest.raises(UserError, match="does not keep the name 'lempus' apart") as refusal:
        readout_ids(builder, [Readout(1, "Tom is a", (" lempus",), ".")])
    assert refusal.value.where == "'Tom is a lempus.'"


def test_nothing_to_read_out() -> None:
    assert readout_ids(builder_of(worked_tokenizer()), []) == []
