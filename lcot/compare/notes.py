"""What belongs beneath a table: how its numbers were counted, and what makes them less comparable than they look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lcot.compare.origins import origins
from lcot.compare.rows import Row, brief, plain
from lcot.runs.protocol import FLOPS
from lcot.runs.results import MASKED, ONE_ANSWER
from lcot.runs.run import COMMAND, Run
from lcot.runs.settings import shown
from lcot.settings import UNTRAINED

OVER_RUNS = "†"
"""Behind a deviation over runs of sampling, which is none over seeds of training."""


def notes(rows: Sequence[Row]) -> list[str]:
    """The notes of a table: first which seeds it is about."""
    makers = (_seeds, _runs, _definitions, _deviations, _data, _methods, _origins, _cost, _code)
    return [note for make in makers for note in make(rows)]


def _definitions(rows: Sequence[Row]) -> Iterable[str]:
    first = rows[0].results[0]
    voting = first.protocol["voting"]
    yield (
        "accuracy: mean over seeds ± sample standard deviation; extractor "
        f"{plain(first.protocol['extractor'])}; decoding {plain(first.protocol['decoding'])}"
        f"{f'; {voting}' if voting != ONE_ANSWER else ''}; checkpoint {_grouped(_by(rows, _checkpoint))}"
    )
    further = {name: text for row in rows for result in row.results for name, text in result.further.items()}
    yield from (f"{name}: extractor {plain(text)}" for name, text in further.items())
    if any("pair_accuracy" in result.metrics for row in rows for result in row.results):
        yield "pair accuracy: share of problems of which both questions, with different answers, are answered rightly"
    yield (
        f"tokens: {plain(first.protocol['definition of tokens'])}, mean of an answer; tokens + thoughts: the # tokens"
        " of the Coconut paper (which leaves out markers, and pauses)"
    )
    if any(row.metric("flops") for row in rows):
        yield f"FLOPs: {FLOPS}"
    if first.protocol["padding"] != MASKED:
        yield f"padding was looked at, as in published code, so batch mates matter: {plain(first.protocol['padding'])}"
    devices = _by(rows, lambda run: run.result.device if run.result else None)
    said = "time of a question: wall time of thinking and writing over the questions of a batch"
    if voting != ONE_ANSWER:
        said += ", for all votes of one run"
    yield said + _on(devices, rows)


def _deviations(rows: Sequence[Row]) -> Iterable[str]:
    marked = {row.label: row.results[0].runs for row in rows if row.over_runs("accuracy") is not None}
    if marked:
        runs = "/".join(dict.fromkeys(map(str, marked.values())))
        yield (
            f"{OVER_RUNS} sample standard deviation over {runs} runs of sampling with the weights of one training, and"
            f" not over seeds of training: {', '.join(marked)}"
        )


def _data(rows: Sequence[Row]) -> Iterable[str]:
    first = rows[0].results[0]
    part = f" of {first.of:,}" if first.of != first.examples else ""
    hashes: dict[str, list[int | None]] = {}
    for run in _all(rows):
        assert run.result is not None
        if run.seed not in hashes.setdefault(run.result.data_hash, []):
            hashes[run.result.data_hash].append(run.seed)
    text = f"data: split {first.split}, {first.examples:,}{part} examples"
    if len(hashes) == 1:
        text += f", data hash {brief(next(iter(hashes)))}"
    else:
        listed = (f"{_listed(seeds)}: {brief(found)}" for found, seeds in hashes.items())
        text += f"; another seed is another test set, data hash by seed {', '.join(listed)}"
    yield text


def _seeds(rows: Sequence[Row]) -> Iterable[str]:
    if len({tuple(row.seeds) for row in rows}) == 1:
        yield f"seeds: {_listed(rows[0].seeds)}" + (" in every row" if len(rows) > 1 else "")
    else:
        yield "not the same seeds: " + "; ".join(f"{row.label} {_listed(row.seeds)}" for row in rows)


def _runs(rows: Sequence[Row]) -> Iterable[str]:
    unfinished = [run.name for run in _all(rows) if run.cost.finished is False and run.cost.ended_by is None]
    if unfinished:
        yield f"training has not come to its end: {', '.join(unfinished)}"
    for run in _all(rows):
        assert run.result is not None
        if run.cost.ended_by is not None:
            yield f"{run.name} did not train to the end of its schedule: {run.cost.ended_by}"
        if run.outdated:
            again = run.command(COMMAND.get(run.result.split, "test"))
            if run.other is not None and run.result.command is not None:
                again = run.result.command
            when = f"at step {run.result.run_steps:,} of {run.cost.steps:,}"
            if run.result.run_begun != run.cost.begun:
                when = "before it was begun anew"
            yield f"{run.name} was evaluated {when}: {again}"
    for row in rows:
        for run in row.repeats:
            yield f"{run.name} repeats seed {run.seed} of {row.label} and does not count"


def _methods(rows: Sequence[Row]) -> Iterable[str]:
    yield "methods: " + "; ".join(f"{row.label} = {described(row.runs[0])}" for row in rows)


def _origins(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        yield from origins(row)


def described(run: Run) -> str:
    """A method by what it is, whatever its run is called: module, schedule, thoughts, and what a test forced on it."""
    found = run.settings
    module, schedule = (
        str(found.get(f"{key}.class_path")).rpartition(".")[2] for key in ("model", "curriculum.schedule")
    )
    kind = found.get("curriculum.schedule.kind")
    hidden = found.get("curriculum.schedule.hidden")
    thoughts = "no thoughts" if kind == "none" else f"{kind} thoughts" if kind else ""
    keys = ("curriculum.eval_stage", "curriculum.eval_thoughts")
    forced = [shown(found, key) for key in keys if found.get(key) is not None]
    return ", ".join(filter(None, (f"{module} with {schedule}", hidden and f"{hidden} hidden", thoughts, *forced)))


def _cost(rows: Sequence[Row]) -> Iterable[str]:
    text = "training cost: mean over seeds; wall time from the first batch to the last, validation included"
    if any(run.steps != run.cost.steps for run in _all(rows)):
        text += "; optimizer steps are those behind the checkpoint that was chosen, all else is the whole training's"
    yield text + _on(_by(rows, lambda run: run.cost.device), rows)


def _code(rows: Sequence[Row]) -> Iterable[str]:
    found = _by(rows, _commits)
    text = "commit" + (" " if len(found) == 1 else "s differ: ") + _grouped(found)
    if any("-dirty" in name for name in found):
        text += " (-dirty: with changes that are in no commit)"
    yield text


def _checkpoint(run: Run) -> str:
    if run.untrained:
        return f"{UNTRAINED} (models as they are)"
    return plain(run.result.protocol["checkpoint"] if run.result else None)


def _commits(run: Run) -> str:
    tested = _short(run.result.commit if run.result else None)
    if run.untrained:
        return tested
    trained = " then ".join(map(_short, run.cost.commits))
    return tested if trained == tested else f"{tested} (trained at {trained or 'an unrecorded one'})"


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    return commit[:7] + ("-dirty" if commit.endswith("-dirty") else "")


def _on(devices: dict[str, list[str]], rows: Sequence[Row]) -> str:
    """Which devices, if anybody wrote them down."""
    if set(devices) == {""}:
        return ""
    named = {device or "an unrecorded device": names for device, names in devices.items()}
    return f"; on {_grouped(named)}"


def _by(rows: Sequence[Row], value: Callable[[Run], str | None]) -> dict[str, list[str]]:
    """Names of the runs by a fact about them."""
    found: dict[str, list[str]] = {}
    for run in _all(rows):
        found.setdefault(value(run) or "", []).append(run.name)
    return found


def _grouped(found: dict[str, list[str]]) -> str:
    """The fact, if it is that of all; otherwise each with its runs."""
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{fact}: {', '.join(names)}" for fact, names in found.items())


def _all(rows: Sequence[Row]) -> list[Run]:
    return [run for row in rows for run in row.runs]


def _listed(seeds: Iterable[int | None]) -> str:
    return ", ".join("unknown" if seed is None else str(seed) for seed in seeds) or "unknown"
