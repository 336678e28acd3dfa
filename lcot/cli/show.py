"""``lcot show``: the rows of one example as models read them, in every stage of its curriculum.

Nothing heavy is imported before the options are read, so a wrong one is answered at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lcot.cli.early import check_early
from lcot.cli.read import read_settings
from lcot.cli.rules import described_rules, guess
from lcot.cli.words import arranged
from lcot.errors import UserError
from lcot.runs.configs import with_paths
from lcot.settings import Settings, cut, refuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lcot.datamodules.base import ReasoningDataModule, Split
    from lcot.reasoning.layout import Layout

SLOT, OPEN, CLOSE, BAR = "▢", "⟦", "⟧", "│"
"""A thought or pause, what stands around supervised text, and between spans."""

_USAGE = """\
usage: lcot show -c CONFIG [-c OVERLAY …] [--index N] [--split train|val|test] [--rules] [--SETTING=VALUE …]

Print one example's rows as the models read them, in every stage of its curriculum: ▢ is a thought or a pause, and
⟦…⟧ stands around the text that is supervised. Where an assistant makes the thoughts, its own rows are printed too.

  --index N      number of the example, from 0
  --split NAME   where it is from; train if not given; predict answers those of test
  --rules        print instead, for questions about graphs, how many of the split's a rule answers that does not
                 search: one that never looks at who is asked about, or one that looks a few facts far
"""
_SPLITS = ("train", "val", "test")


def run_show(words: Sequence[str]) -> None:
    """Run the command; settings that cannot be used end in one block on stderr and exit code 2.

    Args:
        words: The command line behind ``show``.
    """
    if any(word in ("-h", "--help") for word in words):
        print(_USAGE, end="")
        return
    settings = Settings()
    try:
        rest, index, split, rules = _own_options(words)
        line = ["fit", *with_paths(arranged(rest))]  # what fit would read is shown
        settings = read_settings(line)
        check_early(settings)
        from lcot.cli.commands import ReasoningCLI, run

        class Show(ReasoningCLI):
            """Makes data and curriculum only: no trainer, no device, no folder."""

            def before_instantiate_classes(self) -> None:
                self.check_settings()

            def instantiate_trainer(self, **kwargs: Any) -> Any:
                return None

            def _run_subcommand(self, subcommand: str) -> None:
                curriculum = self.config_init[subcommand].curriculum
                self.datamodule.trainer = SimpleNamespace(callbacks=[curriculum], lightning_module=self.model)
                told = described_rules(self.datamodule, split) if rules else described(self.datamodule, split, index)
                print("\n".join(told))

        run(line, settings, Show)
    except UserError as err:
        refuse(err, settings)


def described(data: ReasoningDataModule, split: Split, index: int) -> Iterator[str]:
    """The rows of an example, as blocks of text.

    Args:
        data: A data module that knows its curriculum.
        split: Where the example is from.
        index: Its number there.

    Raises:
        UserError: If there is no such example, or rows cannot be made.
    """
    builder, schedule = data.builder(), data.clock().schedule
    source = data.seen(split)
    if index >= len(source):
        raise UserError(
            f"there is no example {index}", where="--index", why=f"the {split} split has 0 to {len(source) - 1}"
        )
    example = source.example(index, 0)
    (pieces,) = builder.encode([example])
    written = f", in the words of {data.dialogue.prompt}" if data.dialogue is not None else ""
    shorter = " without the last step (data.last_step)" if data.last_step == "drop" else ""
    yield f"example {example.id!r} of the {split} data{shorter}{written}"
    yield from guess((source.example(number, 0) for number in range(len(source))), split)
    stages: dict[int, Layout] = {}
    # Stages before the first one are trained only where stages are mixed.
    first = 0 if any(getattr(schedule, "mix_probability", ())) else schedule.stage_at(0)
    for stage in range(first, schedule.last_stage + 1):
        asked_for = schedule.resolve(stage, len(example.steps))
        row = builder.lesson(pieces, asked_for)
        row = row.with_views(builder.views(pieces, asked_for, builder.further))
        if row in stages.values():
            continue
        stages[stage] = row
        slots = row.thoughts + row.pauses
        counted = f"{slots} thought{'s' * (slots != 1)}, {len(row.ids)} tokens, {row.prompt} of them its prompt"
        yield f"\n── training, stage {stage}: {counted}\n{rendered(builder.tokenizer, row)}"
        yield from _beside(data, builder.tokenizer, row)
    asked = builder.prompt(pieces, schedule.thoughts_at_inference(schedule.last_stage))
    if all(row.ids[: row.prompt] != asked.ids or row.assistant != asked.assistant for row in stages.values()):
        yield f"\n── inference: {len(asked.ids)} tokens\n{rendered(builder.tokenizer, asked)}"
        yield from _beside(data, builder.tokenizer, asked)


def rendered(tokenizer: PreTrainedTokenizerBase, row: Layout) -> str:
    """A row as text, special tokens by their names, with its slots and its supervised text marked."""
    if (starts := row.places.get("spans")) is not None:  # one span beside another
        return BAR.join(str(tokenizer.decode(row.ids[at:end])) for at, end in pairwise(starts))
    slots = range(row.head, row.head + row.thoughts + row.pauses)
    parts = []
    for (slot, supervised), places in groupby(
        range(len(row.ids)), lambda place: (place in slots, row.labels[place] >= 0)
    ):
        ids = [row.ids[place] for place in places]
        text = SLOT * len(ids) if slot else str(tokenizer.decode(ids))
        parts.append(f"{OPEN}{text}{CLOSE}" if supervised else text)
    return "".join(parts)


def _beside(data: ReasoningDataModule, tokenizer: PreTrainedTokenizerBase, row: Layout) -> Iterator[str]:
    """The rows that stand beside one; an assistant may have a tokenizer of its own."""
    for name, view in row.views.items():
        own = data.assistant_tokenizer if name == "assistant" else None
        called = "its assistant" if name == "assistant" else f"its view {name!r}"
        yield f"\n── {called}: {len(view.ids)} tokens\n{rendered(own or tokenizer, view)}"


def _own_options(words: Sequence[str]) -> tuple[list[str], int, Split, bool]:
    """Take ``--index``, ``--split`` and ``--rules`` out of a command line."""
    rest: list[str] = []
    own, given = {"--index": "0", "--split": "train"}, set()
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        given.add(name)
        if word == "--rules":
            continue
        if name not in own:
            rest.append(word)
            continue
        own[name] = value if equals else next(left, "")
    index, split = own["--index"], own["--split"]
    if not index.isdecimal() or len(index) > 18:
        raise UserError(f"--index is {cut(index)!r}", where="the command line", fix="give a whole number, 0 or more")
    if split not in _SPLITS:
        raise UserError.unknown("split", split, _SPLITS, where="--split")
    if {"--rules", "--index"} <= given:
        raise UserError(
            "--index and --rules are both given",
            where="the command line",
            why="rules are tried on all questions",
            fix="leave one of them out",
        )
    return rest, int(index), split, "--rules" in given  # type: ignore[return-value]  # one of these names
