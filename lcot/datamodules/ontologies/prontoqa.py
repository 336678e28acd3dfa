"""ProntoQA: does a chain of "every x is a y" lead an entity to a property (arXiv 2210.01240; 2412.06769)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Literal, get_args

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.doubts import say
from lcot.datamodules.ontologies.generator import Ontology, OntologySpec, generate, renamed
from lcot.datamodules.ontologies.records import read_problems
from lcot.datamodules.ontologies.text import draw_wording, negated, render, reordered, surface_texts
from lcot.datamodules.options import check_choice, check_one_path, split_sizes
from lcot.datamodules.pairs import BOTH, Asked
from lcot.datamodules.rows import ListSource, Source
from lcot.errors import DataError, shown
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random

Redraw = Literal["none", "order", "all"]
Ask = Literal["given", "both"]

_SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


class OntologySource:
    """Generated problems, which are written anew at each visit.

    Length, wording, negations and answer of a problem never change, so its number of words never does either.

    Args:
        ontologies: The problems.
        spec: Which names are in play.
        redraw: What changes from epoch to epoch: nothing, the order of the facts, or that and all names and adjectives;
            problems whose names are redrawn stay among those of the training split.
        seed: Keys the draws together with epoch and index.
        prefix: Begins the examples' ids.
    """

    def __init__(self, ontologies: list[Ontology], spec: OntologySpec, redraw: Redraw, seed: int, prefix: str) -> None:
        self.ontologies = ontologies
        self.spec = spec
        self.redraw = redraw
        self.seed = seed
        self.prefix = prefix

    @property
    def redraws(self) -> bool:
        """Whether an example differs from epoch to epoch."""
        return self.redraw != "none"

    def __len__(self) -> int:
        return len(self.ontologies)

    def ontology(self, index: int, epoch: int) -> Ontology:
        """The problem as it is seen in an epoch."""
        if self.redraw != "all" or epoch == 0:
            return self.ontologies[index]
        draw = keyed_random("names", self.seed, self.prefix, epoch, index)
        return renamed(self.spec, self.ontologies[index], "train", draw)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The problem as text, as it is seen in an epoch."""
        ontology = self.ontology(index, epoch)
        wording = draw_wording(ontology, keyed_random("wording", self.seed, self.prefix, index))
        draw = keyed_random("facts", self.seed, self.prefix, epoch if self.redraws else 0, index)
        return render(ontology, wording, draw, example_id=f"{self.prefix}-{index}")


class Contrary:
    """Problems with two questions: the query, and its negation.

    Args:
        problems: The problems; their facts are known.
    """

    def __init__(self, problems: Source) -> None:
        self.problems = problems
        self.redraws = problems.redraws

    def __len__(self) -> int:
        return len(self.problems)

    def question(self, index: int, epoch: int, other: bool) -> ReasoningExample:
        """The problem as it is seen in an epoch, or with the contrary query."""
        example = self.problems.example(index, epoch)
        return negated(example) if other else example


class ReorderedSource:
    """Problems of a file, whose facts stand in another order in each epoch.

    Args:
        examples: The problems; their facts could be read.
        seed: Keys the draws together with epoch and index.
    """

    redraws = True

    def __init__(self, examples: list[ReasoningExample], seed: int) -> None:
        self.examples = examples
        self.seed = seed

    def __len__(self) -> int:
        return len(self.examples)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The problem as it is seen in an epoch."""
        return reordered(self.examples[index], keyed_random("facts", self.seed, "file", epoch, index))


class ProntoQA(ReasoningDataModule):
    """ProntoQA from the generator, or from files: those that its authors' generator writes, or preprocessed ones.

    The question is all facts and "True or false: …", each step a pair of the proof's sentences, the answer True or
    False. An example's ``facts`` have the entity, the chain of its concepts, the query, and the ontology's edges and
    properties (see :func:`lcot.datamodules.ontologies.text.read_facts`).

    Args:
        hops: Fewest and most rules that the proof of a generated problem applies; it has a step more than that.
        concepts: How many concept names are in play in generated problems, 2·hops + 4 at least; ``None`` for the 17
            published ones, or as many as the longest chain takes.
        families: How many families of adjectives are in play in generated problems, 2·hops + 1 at least; ``None`` for
            the 13 published ones, or as many as the longest chain takes.
        train_size: Generated training problems, or with ``path`` the first records of that file.
        val_size: Generated validation problems, or the records of ``path`` that come next. No proof of a generated
            problem is in two splits, and no ontology twice in validation or test; training may repeat one.
        test_size: Generated test problems, or the records of ``path`` after those; also those that ``predict`` answers.
        ask: Which queries are put in validation, test and prediction: the ``given`` one of each problem, or ``both``
            that and its negation, behind the same facts: who pays no heed to the query gets one of them right. Pair
            accuracy is the share of problems with both right. Half the queries of training are negated anyway.
        redraw: What changes at each visit to a *training* problem: ``none``, the ``order`` of its facts, or ``all``
            (order, names and adjectives). Files name their concepts themselves, so ``all`` redraws no more than the
            order there.
        path: One file that is cut into the three splits, as the paper does with the 10,000 records that the published
            generator wrote: 9,000, 200 and 800 in the file's order.
        train_path: A file to train on, instead of generated problems.
        val_path: Likewise for validation.
        test_path: Likewise for test and predict.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range, or ``path`` is given together with the path of a split.
    """

    def __init__(
        self,
        hops: tuple[int, int] = (5, 5),
        concepts: int | None = None,
        families: int | None = None,
        train_size: int = 9000,
        val_size: int = 200,
        test_size: int = 800,
        ask: Ask = "given",
        redraw: Redraw = "none",
        path: str | None = None,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.spec = OntologySpec(hops=hops, concepts=concepts, families=families)
        self.sizes = split_sizes(train_size, val_size, test_size)
        check_choice("redraw", redraw, get_args(Redraw))
        check_choice("ask", ask, get_args(Ask))
        self.ask: Ask = ask
        self.redraw: Redraw = redraw
        self.path = path
        self.paths = dict(zip(_SPLITS, (train_path, val_path, test_path), strict=True))
        check_one_path(path, self.paths, "use path alone, or one path for each split that is not generated")

    def make_source(self, split: Split) -> Source:
        """Read the split's file or its part of one, or generate its problems.

        Raises:
            DataError: If the file cannot be used.
            UserError: If there are not as many generated problems.
        """
        part: Literal["train", "val", "test"] = "test" if split == "predict" else split
        redraw: Redraw = self.redraw if part == "train" else "none"
        both = self.ask == BOTH and part != "train"
        seed = self.keyed_by()
        if self.path is None and self.paths[part] is None:
            ontologies = generate(self.spec, seed, part, self.sizes[part])
            source: Source = OntologySource(ontologies, self.spec, redraw, seed, part)
            return Asked(Contrary(source), BOTH, seed, part) if both else source
        examples = self._read(part)
        if redraw == "none" and not both:
            return ListSource(examples)
        for number, example in enumerate(examples, start=1):
            if "entity" not in example.facts:
                what = "ask 'both' negates the query" if both else "redraw puts the facts in another order"
                raise DataError(
                    f"example {shown(example.id)} has a sentence of no known form",
                    where=f"{self.path or self.paths[part]}, record {number}",
                    why=f"{what}, which has to be read for that",
                    fix=f"use {'ask given' if both else 'redraw none'}, or a file of fictional ontologies",
                )
        return Asked(Contrary(ListSource(examples)), BOTH, seed, part) if both else ReorderedSource(examples, seed)

    def written(self, split: Split) -> Iterable[ReasoningExample] | None:
        """The records of a split's file, or of its part of the one file."""
        part: Literal["train", "val", "test"] = "test" if split == "predict" else split
        return self._read(part) if self.path is not None or self.paths[part] is not None else None

    def vocabulary(self) -> Iterable[str]:
        """All published names and adjectives, whatever is in play, in every form; and the words of training files.

        A model that is trained on few names can so be validated on published files, which use all of them.
        """
        yield from surface_texts(self.spec)
        yield from self.text.parts()
        if self.path is not None or self.paths["train"] is not None:
            for example in self._read("train"):
                yield from self.text.pieces(example)

    def _read(self, split: Literal["train", "val", "test"]) -> list[ReasoningExample]:
        """The records of a split that is not generated."""
        examples = self._cut(split)
        known = sum("entity" in example.facts for example in examples)
        if 0 < known < len(examples):
            say(
                "%d of %d problems of %s have sentences of no known form: their proofs are not checked, and they are"
                " not judged by graphs",
                *(len(examples) - known, len(examples), self.path or self.paths[split]),
            )
        return examples

    def _cut(self, split: Literal["train", "val", "test"]) -> list[ReasoningExample]:
        own = self.paths[split]
        if own is not None:
            return list(read_problems(own))
        assert self.path is not None
        before = sum(self.sizes[name] for name in _SPLITS[: _SPLITS.index(split)])
        # Records before those of the split are checked as well, so that a fault is found at whichever comes first.
        records = list(islice(read_problems(self.path), before + self.sizes[split]))
        if len(records) < before + self.sizes[split]:
            raise DataError(
                f"the file holds {len(records)} records, and the {split} split is to have records {before + 1} to"
                f" {before + self.sizes[split]}",
                where=self.path,
                why="it is cut into data.train_size, data.val_size and data.test_size records, in this order",
                fix="lower the sizes, or give a longer file",
            )
        return records[before:]
