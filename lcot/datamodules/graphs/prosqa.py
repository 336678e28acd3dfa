"""ProsQA: which of two concepts does a chain of "every x is a y" lead to (arXiv 2412.06769, appendix A)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.doubts import say_repeated
from lcot.datamodules.graphs.generator import GraphSpec, Problem, Rival, Root
from lcot.datamodules.graphs.hints import Hints
from lcot.datamodules.graphs.published import RecordSource, graph_of, other_record, read_problems
from lcot.datamodules.graphs.splits import GraphSplit, generate
from lcot.datamodules.graphs.text import Style, draw_names, render, surface_texts
from lcot.datamodules.options import check_choice, split_sizes
from lcot.datamodules.pairs import Asked
from lcot.datamodules.records import read_examples
from lcot.datamodules.rows import Source
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random

Redraw = Literal["none", "order", "all"]
StageTarget = Literal["chain", "frontier"]
Ask = Literal["deeper", "either", "both"]


class GraphSource:
    """Problems that are written anew at each visit.

    Args:
        problems: The graphs.
        names: The names of each problem's nodes where they are fixed (published files); ``None`` draws them from
            ``spec``.
        spec: Which names are in play.
        style: How they are written.
        redraw: What changes from epoch to epoch: nothing, the order of the facts and options, or that and all names.
        seed: Keys the draws together with epoch and index.
        prefix: Begins the examples' ids.
        frontier: Whether examples name, for each step, the other nodes at its distance from the root.
        hints: Hints behind the questions, drawn anew in each epoch.
    """

    def __init__(
        self,
        problems: list[Problem],
        names: list[tuple[str, ...]] | None,
        spec: GraphSpec,
        style: Style,
        redraw: Redraw,
        seed: int,
        prefix: str,
        frontier: bool = False,
        hints: Hints | None = None,
    ) -> None:
        self.problems = problems
        self.names = names
        self.spec = spec
        self.style = style
        self.redraw = redraw
        self.seed = seed
        self.prefix = prefix
        self.frontier = frontier
        self.hints = hints

    @property
    def redraws(self) -> bool:
        """Whether an example differs from epoch to epoch."""
        return self.redraw != "none" or self.hints is not None

    def __len__(self) -> int:
        return len(self.problems)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The problem as text, as it is seen in an epoch."""
        return self.question(index, epoch, False)

    def question(self, index: int, epoch: int, other: bool) -> ReasoningExample:
        """The problem as text, as it is seen in an epoch, or the other question about its graph."""
        names = self.names[index] if self.names is not None else None
        return self.write(self.problems[index], names, index, epoch, other)

    def write(
        self, problem: Problem, names: tuple[str, ...] | None, index: int, epoch: int, other: bool = False
    ) -> ReasoningExample:
        """A problem as text.

        Args:
            problem: The graph.
            names: The names of its nodes; ``None`` to draw them.
            index: Its number, which keys the draws.
            epoch: Likewise.
            other: Whether the other question about the graph is asked; the text differs in the root alone.
        """
        if names is None:
            naming = epoch if self.redraw == "all" else 0
            names = draw_names(self.spec, problem, keyed_random("names", self.seed, self.prefix, naming, index))
        order = epoch if self.redraw != "none" else 0
        draw = keyed_random("facts", self.seed, self.prefix, order, index)
        asked = problem.other_question() if other else problem
        assert asked is not None, "graphs are drawn with two such roots, and records checked for them"
        example = render(
            asked,
            names,
            draw,
            self.style,
            example_id=f"{self.prefix}-{index}",
            frontier=self.frontier,
            exchanged=other,
        )
        if self.hints is None:
            return example
        return self.hints.apply(example, keyed_random("hints", self.seed, self.prefix, epoch, index))


class ProsQA(ReasoningDataModule):
    """ProsQA from the generator, or from files in the published format.

    Args:
        nodes: Fewest and most nodes of a generated graph.
        hops: Shortest and longest chain of a generated problem.
        symbols: Number of names in play.
        parents: Mean number of parents that are drawn for a node; fewer make graphs sparser and chains longer.
        root: Which of the two first nodes a generated question starts from: the ``deeper`` one, as in the published
            files, or always the ``first``, as the paper's text reads.
        rival: Where the options of a generated question lie: at the ends of the graph, as in the published files
            (``leaf``), or both at the same distance from the one of the two first nodes that reaches it, which is drawn
            evenly from ``hops`` (``level``). The other question of ``ask`` then has as many steps: with ``leaf`` it has
            one step most of the time, so that a look at one fact and a guess by shape get most pairs right.
        ask: Which questions are asked about a graph. ``deeper``: the one that ``root`` makes, or that a file asks.
            ``either``: that one, or the other one with the opposite answer: from the smallest-numbered node without
            parents that reaches the other option and not this one; drawn anew wherever ``redraw`` redraws. ``both``:
            one and the other, with the same facts and names in the same order, so that who cannot tell one root from
            another gets at most one of them right; pair accuracy is the share of graphs with both right. The steps of
            an other question are a shortest way too, which may be shorter or longer than ``hops``.
        train_ask: Likewise in training, where it is something else; ``None`` for ``ask``. ``both`` makes two training
            examples of each graph.
        train_size: Generated training graphs.
        val_size: Generated validation graphs; no graph is in two splits, and no problem twice in validation or
            test, not even renamed. Training may repeat one.
        test_size: Generated test graphs, also those that ``predict`` answers.
        style: ``prose`` as published, ``compact``: the same problem in half the tokens, or ``symbolic``: that of
            arXiv 2505.12514, in which options have no word between them.
        stage_target: What a curriculum that writes the ``next`` step only (``Stepwise.written``) asks for after i
            thoughts: the ``chain``'s own node (that paper's text), or any node of the ``frontier`` at its distance from
            the root, drawn anew at each visit (its code). No effect where all remaining steps are written.
        redraw: What changes at each visit to a generated *training* graph: ``none``, the ``order`` of facts and
            options, or ``all`` (order and names). Published files name their nodes themselves, so ``all`` redraws no
            more than the order there; with ``none`` and ``prose`` they are read as they stand.
        hints: Let some *training* questions of the compact style end with a hint that names the chain, for a model that
            is to read hints later; ``None`` for none.
        train_path: A published-format file to train on instead of generated graphs.
        val_path: Likewise for validation.
        test_path: Likewise for test and predict.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range.
    """

    def __init__(
        self,
        nodes: tuple[int, int] = (28, 28),
        hops: tuple[int, int] = (3, 6),
        symbols: int = 55,
        parents: float = 1.5,
        root: Root = "deeper",
        rival: Rival = "leaf",
        ask: Ask = "deeper",
        train_ask: Ask | None = None,
        train_size: int = 17886,
        val_size: int = 300,
        test_size: int = 500,
        style: Style = "prose",
        stage_target: StageTarget = "chain",
        redraw: Redraw = "none",
        hints: Hints | None = None,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.spec = GraphSpec(nodes=nodes, hops=hops, symbols=symbols, parents=parents, root=root, rival=rival)
        self.sizes = split_sizes(train_size, val_size, test_size)
        for name, value, known in (
            ("style", style, get_args(Style)),
            ("stage_target", stage_target, get_args(StageTarget)),
            ("redraw", redraw, get_args(Redraw)),
            ("ask", ask, get_args(Ask)),
            ("train_ask", train_ask or ask, get_args(Ask)),
        ):
            check_choice(name, value, known)
        self.asks: dict[str, Ask] = {**dict.fromkeys(("val", "test", "predict"), ask), "train": train_ask or ask}
        self.style: Style = style
        self.stage_target: StageTarget = stage_target
        self.redraw: Redraw = redraw
        if hints is not None and style != "compact":
            raise UserError(
                f"there are hints, and style {style!r}",
                where="data.hints, data.style",
                why="a hint names the steps, which are single names in the compact style only",
                fix="set style to compact, or hints to null",
            )
        self.hints = hints
        self.paths = {"train": train_path, "val": val_path, "test": test_path, "predict": test_path}

    def make_source(self, split: Split) -> Source:
        """Read the split's file, or generate its graphs.

        Raises:
            DataError: If the file cannot be used.
        """
        problems = self._problems(split)
        return problems if self.asks[split] == "deeper" else self._asked(problems, split)

    def _asked(self, problems: GraphSource | RecordSource, split: Split) -> Asked:
        return Asked(problems, self.asks[split], self.keyed_by(), _part(split))

    def _problems(self, split: Split) -> GraphSource | RecordSource:
        path, seed, part = self.paths[split], self.keyed_by(), _part(split)
        redraw: Redraw = self.redraw if split == "train" else "none"
        frontier = self.stage_target == "frontier" and split == "train"
        hints = self.hints if split == "train" else None
        if path is None:
            problems = generate(self.spec, seed, part, self.sizes[split])
            say_repeated(len(problems), len(set(problems)), "different problems that were drawn")
            return GraphSource(problems, None, self.spec, self.style, redraw, seed, part, frontier, hints)
        rewritten = self.style != "prose" or redraw != "none" or frontier  # or hints, which prose never has
        examples = read_problems(path, rewritten=rewritten, paired=self.asks[split] != "deeper")
        if not rewritten:
            return RecordSource(examples)
        graphs = [graph_of(example, f"{path}, record {number}") for number, example in enumerate(examples, start=1)]
        # A published file names its nodes itself, so "all" cannot redraw more than the order.
        return GraphSource(
            [problem for problem, _ in graphs],
            [names for _, names in graphs],
            self.spec,
            self.style,
            redraw,
            seed,
            part,
            frontier,
            hints,
        )

    def examples(self, split: Split) -> Callable[[], Iterator[ReasoningExample]]:
        """What reads the split's file, of which nothing is kept, or goes through its generated graphs.

        Raises:
            DataError: If the file cannot be used, now or when a faulty record is reached.
        """
        path = self.paths[split]
        if path is None or split == "train":
            return super().examples(split)
        return lambda: self._read(path, split)

    def _read(self, path: str, split: Split) -> Iterator[ReasoningExample]:
        """The records of a file in the words of the style, as :meth:`make_source` gives them outside of training."""
        prose = self.style == "prose"
        source = GraphSource([], None, self.spec, self.style, "none", self.keyed_by(), _part(split))
        asked = self._asked(source, split)
        examples = read_problems(path, rewritten=not prose, paired=asked.ask != "deeper")
        for index, example in enumerate(examples):
            where = f"{path}, record {index + 1}"
            for other in asked.which(index, 0):
                if prose:
                    question = other_record(example, where) if other else example
                else:
                    question = source.write(*graph_of(example, where), index, 0, other)
                yield asked.named(question, other)

    def written(self, split: Split) -> Iterable[ReasoningExample] | None:
        """The records of a split's file."""
        path = self.paths[split]
        return read_examples(path) if path is not None else None

    def vocabulary(self) -> Iterable[str]:
        """All 55 published names, whatever ``symbols`` is, with the words of the styles; and the words of files.

        A model that is trained on few names can so be validated on published files, which use all of them.
        """
        styles: set[Style] = {"prose", "compact", self.style}
        for style in sorted(styles):
            yield from surface_texts(GraphSpec.published(), style)
        yield from self.text.parts()
        if self.paths["train"] is not None:
            for example in read_examples(self.paths["train"]):
                yield from self.text.pieces(example)


def _part(split: Split) -> GraphSplit:
    """The split whose questions these are: ``predict`` answers those of the test."""
    return "test" if split == "predict" else split
