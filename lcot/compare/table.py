"""Runs to rows, rows to tables: what may stand side by side, and what has to be said beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lcot.compare.notes import notes
from lcot.compare.origins import method_differences
from lcot.compare.pairs import Pair, pairs
from lcot.compare.rows import Row, brief, plain
from lcot.metrics import pair_name
from lcot.runs.results import Result, Split
from lcot.runs.run import Run
from lcot.runs.settings import data_settings, differences, shown
from lcot.settings import UNTRAINED


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that may be compared.

    Attributes:
        rows: In the order in which their runs were given.
        apart: What keeps them from the tables before this one; empty for the first.
        notes: What belongs beneath.
        pairs: Rows whose methods alone differ, question by question.
    """

    rows: tuple[Row, ...]
    apart: str = ""
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @property
    def accuracies(self) -> list[str]:
        """Names of the accuracies that any row has, those of pairs last, that of the first extractor first."""
        names = {name: None for row in self.rows for result in row.results for name in result.metrics}
        found = ["accuracy", *(name for name in names if name.startswith("accuracy_"))]
        return [*found, *(pair for name in found if (pair := pair_name(name)) in names)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that there is to say about some runs.

    Attributes:
        tables: At least one run has a result, or there is none.
        missing: For each run without a result, that it has none, and the command that makes it.
    """

    tables: tuple[Table, ...]
    missing: tuple[tuple[str, str], ...]


def compare(runs: Sequence[Run], split: Split = "test") -> Comparison:
    """Put runs into rows, and rows into tables.

    Args:
        runs: In the order in which they are to stand.
        split: Whose results were read.
    """
    rows = _labelled(_rows([run for run in runs if run.result is not None]))
    groups: list[list[Row]] = []
    for row in rows:
        fitting = next((group for group in groups if not any(_conflicts(other, row) for other in group)), None)
        if fitting is None:
            groups.append([row])
        else:
            fitting.append(row)
    missing = tuple(
        (f"{run.name} has no {split} result{_unfinished(run)}", run.next_command(split))
        for run in runs
        if run.result is None
    )
    tables = tuple(
        Table(tuple(group), _apart(groups, number), tuple(notes(group)), pairs(group))
        for number, group in enumerate(groups)
    )
    return Comparison(tables, missing)


def _unfinished(run: Run) -> str:
    if run.cost.ended_by is not None:
        return f", and its training was ended by {run.cost.ended_by}"
    return ", and its training has not come to its end" if run.cost.finished is False else ""


def _rows(runs: Sequence[Run]) -> list[Row]:
    rows: list[Row] = []
    for run in runs:
        place = next((place for place, row in enumerate(rows) if _belongs(run, row)), None)
        if place is None:
            rows.append(Row(run.stem, (run,)))
        elif run.seed is not None and run.seed in rows[place].seeds:
            rows[place] = replace(rows[place], repeats=(*rows[place].repeats, run))
        else:
            rows[place] = replace(rows[place], runs=(*rows[place].runs, run))
    return [replace(row, runs=tuple(sorted(row.runs, key=_by_seed))) for row in rows]


def _by_seed(run: Run) -> tuple[bool, int]:
    return run.seed is None, run.seed or 0


def _belongs(run: Run, row: Row) -> bool:
    if method_differences(row.runs[0], run):
        return False
    assert run.result is not None
    return not _protocol_conflicts(row.results, [run.result]) and _data_conflict(row.runs, [run]) is None


def _labelled(rows: list[Row]) -> list[Row]:
    """Names of rows that tell them apart: runs may be called alike and be something else."""
    named = []
    for row in rows:
        alike = [other for other in rows if other.label == row.label and other is not row]
        keys = [key for other in alike for key in method_differences(other.runs[0], row.runs[0])]
        # What the most rows differ in comes first, and one setting that tells all apart is enough.
        told = [key for key in dict.fromkeys(keys) if _tells_apart(key, row, alike)][:1] or list(dict.fromkeys(keys))[
            :2
        ]
        what = ", ".join(shown(row.runs[0].settings, key) for key in told)
        named.append(replace(row, label=f"{row.label} ({what})" if what else row.label))
    return named


def _tells_apart(key: str, row: Row, others: Sequence[Row]) -> bool:
    mine = row.runs[0].settings.get(key)
    return all(other.runs[0].settings.get(key) != mine for other in others)


def _conflicts(left: Row, right: Row) -> list[str]:
    """Why two rows may not stand side by side, in words: what the left one has, and what the right."""
    found = _protocol_conflicts(left.results, right.results)
    data = _data_conflict(left.runs, right.runs)
    return [*found, data] if data else found


def _protocol_conflicts(left: Sequence[Result], right: Sequence[Result]) -> list[str]:
    for one in left:
        for other in right:
            pairs = [("split", _split(one), _split(other))]
            # What trains nothing has no checkpoint, and stands beside what does.
            names = [name for name in one.protocol if name != "checkpoint" or not _untrained(one, other)]
            pairs += [(name, one.protocol[name], other.protocol[name]) for name in names]
            common = [name for name in one.further if name in other.further]
            pairs += [(f"extractor of {name}", one.further[name], other.further[name]) for name in common]
            found = [f"{name}: {plain(here)}, not {plain(there)}" for name, there, here in pairs if there != here]
            if found:
                return found
    return []


def _untrained(*results: Result) -> bool:
    """Whether one of some results is that of a model as it is."""
    return any(result.protocol["checkpoint"] == UNTRAINED for result in results)


def _data_conflict(left: Sequence[Run], right: Sequence[Run]) -> str | None:
    """With generated data another seed is another test set: what counts are the seeds that both have."""
    agreed = False
    for mine in left:
        for other in right:
            assert mine.result is not None and other.result is not None
            hashes = [mine.result.data_hash, other.result.data_hash]
            if hashes[0] != hashes[1] and mine.seed != other.seed:
                continue
            if hashes[0] != hashes[1]:
                seed = "" if mine.seed is None else f" of seed {mine.seed}"
                return f"questions{seed}: data hash {brief(hashes[1])}, not {brief(hashes[0])}"
            agreed = True
    if agreed:
        return None
    # Nothing to check by: the settings that make the data have to be the same.
    first, second = left[0].result, right[0].result
    assert first is not None and second is not None
    sides = [data_settings(result.settings, result.split) for result in (first, second)]
    keys = differences(*sides)
    if not keys:
        return None
    there, here = (", ".join(shown(side, key) for key in keys[:3]) for side in sides)
    return f"data: {here}, not {there}"


def _split(result: Result) -> str:
    part = f" of {result.of:,}" if result.of != result.examples else ""
    return f"{result.split}, {result.examples:,}{part} examples"


def _apart(groups: Sequence[Sequence[Row]], number: int) -> str:
    """What differs between a table and the first one before it that it cannot join."""
    for before, group in enumerate(groups[:number]):
        for other in group:
            for row in groups[number]:
                found = _conflicts(other, row)
                if found:
                    return f"not comparable with table {before + 1}: {'; '.join(found)}"
    return ""
