"""The words in which a concept is named next: what is forced before it, and how it is put.

The definition is that of arXiv 2412.06769, section 5: after k thoughts the text "Every" is forced, and each concept's
name is scored as its continuation, since the step behind k hidden ones begins with "Every <node at depth k>". For
k = 0, where the first step begins with the entity, it is "<entity> is a". The other surfaces name the next node at once
(ProsQA's compact and symbolic styles, and sums, where a colon follows) or behind "<entity> is" (ProntoQA, whose article
is part of what is scored), and there the node is one edge farther on: at depth k + 1. Words that a prompt file writes
before each step, such as "## Step 2: ", are forced too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lcot.errors import UserError
from lcot.metrics.problem_graph import ProblemGraph
from lcot.metrics.surfaces import Surface
from lcot.reasoning.dialogue import DialogueBuilder
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.prompts import fill
from lcot.reasoning.tokens import token_ids


@dataclass(frozen=True, slots=True)
class Readout:
    """How the next concepts of a problem are read out.

    Attributes:
        depth: Number of edges between the root and the nodes that a real path would name here.
        lead: The text that is forced before a name; may be empty.
        names: How each node's name goes on behind it, by node.
        follows: What stands behind a name in a step, so that names are tokenized as they are in training.
    """

    depth: int
    lead: str
    names: tuple[str, ...]
    follows: str


@dataclass(frozen=True, slots=True)
class ReadoutIds:
    """A readout in tokens.

    Attributes:
        lead: Ids of the forced text.
        names: Ids of each name.
    """

    lead: list[int]
    names: list[list[int]]


def readout(graph: ProblemGraph, surface: Surface, hidden: int, builder: LayoutBuilder) -> Readout:
    """How concepts are read out behind hidden steps.

    Args:
        graph: The names.
        surface: How the problem is put into words.
        hidden: Number of steps that thoughts stand for.
        builder: Says what stands around a step.
    """
    root = graph.names[graph.root]
    before, after_step = _around_step(builder, hidden)
    if surface == "prose":
        names = tuple(f" {name}" for name in graph.names)
        if hidden:
            return Readout(hidden, f"{before}Every", names, " is a")
        return Readout(1, f"{before}{root} is a", names, "." + after_step)
    if surface == "proof":
        names = tuple(f" {_kind_or_quality(name)}" for name in graph.names)
        return Readout(hidden + 1, f"{before}{root} is", names, ".")
    # A space before a name is part of its first token.
    lead, follows = before.rstrip(" "), ":" if surface == "sums" else after_step
    return Readout(hidden + 1, lead, tuple(before[len(lead) :] + name for name in graph.names), follows)


def readout_ids(builder: LayoutBuilder, readouts: Sequence[Readout]) -> list[ReadoutIds]:
    """Tokenize readouts, all in one call.

    Raises:
        UserError: If the tokenizer joins a name with the text around it, so that its probability is not that of tokens
            of its own.
    """
    texts: list[str] = []
    for form in readouts:
        texts.append(form.lead)
        for name in form.names:
            texts += [form.lead + name, form.lead + name + form.follows]
    ids = iter(token_ids(builder.tokenizer, texts, bos=False) if texts else [])
    found = []
    for form in readouts:
        lead, names = next(ids), []
        for name in form.names:
            named, followed = next(ids), next(ids)
            if named[: len(lead)] != lead or len(named) == len(lead) or followed[: len(named)] != named:
                raise UserError(
                    f"the tokenizer does not keep the name {name.strip()!r} apart from the text around it",
                    where=f"{form.lead + name + form.follows!r}",
                    why="a concept's probability is the product over the tokens of its name",
                    fix="use a tokenizer that splits at spaces and punctuation, or another text.after_step",
                )
            names.append(named[len(lead) :])
        found.append(ReadoutIds(lead, names))
    return found


def _around_step(builder: LayoutBuilder, place: int) -> tuple[str, str]:
    """What stands before and behind the step with so many steps before it."""
    if not isinstance(builder, DialogueBuilder):
        return builder.text.around_step(place, last=False)
    before, _, behind = fill(builder.model.prompt.step, i=place + 1).partition("{step}")
    return before, behind


def _kind_or_quality(name: str) -> str:
    """A concept of ProntoQA with its article; a property as it is."""
    if not name.endswith("pus"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
