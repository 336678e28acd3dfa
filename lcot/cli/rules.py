"""What rules that do not search reach on questions about graphs, in lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from lcot.errors import UserError

if TYPE_CHECKING:
    from lcot.datamodules.base import ReasoningDataModule, Split
    from lcot.reasoning.example import ReasoningExample

FIRST = 1000
"""So many questions are enough for one line."""

_FAR = (1, 2, 3)


def guess(examples: Iterable[ReasoningExample], split: str) -> Iterator[str]:
    """One line on what a guess by depth reaches on the first questions; none where they are no choice in a graph.

    Args:
        examples: The questions.
        split: Name of the split.
    """
    from lcot.metrics.shortcuts import deeper, has_options, scores

    asked = list(islice(examples, FIRST))
    if not all(map(has_options, asked)):
        return
    found = scores({"deeper": deeper}, asked)["deeper"]
    pairs = f", and in both of {_percent(found.pair_accuracy)} of the pairs" if found.pair_accuracy is not None else ""
    yield (
        f"whoever is asked about, the option that lies deeper is right in {_percent(found.accuracy)} of the first"
        f" {found.questions:,} {split} questions{pairs} (lcot show --rules)"
    )


def described_rules(data: ReasoningDataModule, split: Split) -> Iterator[str]:
    """What each rule reaches on a split, one line each.

    Args:
        data: A data module that knows its curriculum.
        split: The split.

    Raises:
        UserError: If a question is no choice between two nodes of a graph that it states.
    """
    from lcot.metrics.problem_graph import problem_graph
    from lcot.metrics.shortcuts import TRAITS, Linear, Rule, deeper, has_options, looking, scores

    def checked(name: Split) -> Iterator[ReasoningExample]:
        for example in data.examples(name)():
            if not has_options(example):
                raise UserError(
                    f"the question of example {example.id!r} is no choice between two nodes of a graph that it states",
                    where=f"--rules, and the {name} data",
                    fix="use ProsQA, or a file of such problems",
                )
            yield example

    fitted = Linear.fit(map(problem_graph, checked("val")))
    blind: dict[str, Rule] = {
        "the option that lies deeper below the nearest node without parents": deeper,
        f"weighted: {', '.join(TRAITS)} (weights fitted on val)": fitted,
    }
    near: dict[str, Rule] = {
        f"{far} fact{'s' * (far > 1)} far, or else the deeper option": looking(far) for far in _FAR
    }
    found = scores(blind | near, checked(split))
    first = next(iter(found.values()))
    pairs = f", {first.pairs:,} pairs" if first.pairs else ""
    yield f"{first.questions:,} questions of the {split} data{pairs}"
    width = max(map(len, found))
    for title, rules in (("rules that never look at who is asked about", blind), ("rules that look from there", near)):
        yield f"\n{title}"
        for name in rules:
            both = found[name].pair_accuracy
            said = f"   both questions of a pair {_percent(both):>7}" if both is not None else ""
            yield f"  {name:<{width}}  {_percent(found[name].accuracy):>7}{said}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
