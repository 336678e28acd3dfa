"""What interventions on thoughts have shown, in about ten lines that can be read without the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from lcot.analysis.edits import Effect, Scope, edit_of
from lcot.analysis.effects import UNCHANGED, EffectRow
from lcot.analysis.weights import WeightRow

_KNOWN = ("mean", "covariance", "other_gold", "pair")
"""Edits of all thoughts after which they are such as the model knows, and hold nothing of the question itself."""

_STRANGE = ("zero", "noise")
"""Edits that take a model where it has never been: whether it looks at its thoughts at all."""

_ORDER = ("reverse", "shuffle")
_SURE = 0.05
_MANY = 8
"""With more thoughts than this, what other measures say of each is left to the tables."""

_SHORT: Mapping[str, str] = {
    "zero": "zero",
    "mean": "their mean over the questions",
    "noise": "noise of the same norm",
    "covariance": "noise of their mean and covariance",
}
_ONE_BY_ONE: Mapping[str, str] = {
    "pair": "is that of the other question about the same facts",
    "other_gold": "is another question's with another answer",
    **{name: f"is {what}" for name, what in _SHORT.items()},
    "hidden": "is hidden from the text",
}
_SCOPES: tuple[tuple[Scope, Effect, str], ...] = (
    ("one", "direct", "alone"),
    ("from", "direct", "with all behind it"),
    ("one", "total", "when those behind it are thought anew"),
)


def findings(rows: Sequence[EffectRow], k: int, weighed: Sequence[WeightRow] = ()) -> list[str]:
    """The lines.

    Args:
        rows: Of all questions, and by steps.
        k: Number of thoughts.
        weighed: What each thought is worth by other measures.
    """
    everything = [row for row in rows if row.steps is None]
    whole = {row.intervention: row for row in everything if row.scope == "all"}
    return [*_whole(whole, k), *_one_by_one(everything), *_weighed(weighed), *_verdict(whole)]


def _whole(whole: Mapping[str, EffectRow], k: int) -> Iterator[str]:
    """What all thoughts are worth."""
    base = whole[UNCHANGED]
    yield (
        f"{base.questions:,} questions with {k} thought{'s' * (k > 1)} each: {_share(base.accuracy)} are answered"
        f" correctly (95 % interval {_share(base.low)} to {_share(base.high)}){_both(base)}."
    )
    if replaced := [(what, whole[name]) for name, what in _SHORT.items() if name in whole]:
        said = [f"{what}: {_share(row.changed)} ({_share(row.accuracy)} right, {_p(row)})" for what, row in replaced]
        yield f"Answers that change when all thoughts become {', '.join(said)}."
    for name in ("pair", "other_gold", "same_gold", *_ORDER, "first", "hidden"):
        if (row := whole.get(name)) is not None:
            some = f" ({row.questions:,} have one)" if row.questions < base.questions else ""
            steered = _steered(row, whole) if name in ("pair", "other_gold") else ""
            yield (
                f"{edit_of(name).doing}{some} changes {_share(row.changed)} of the answers{steered}:"
                f" {_share(row.accuracy)} are right ({_share(row.before)} before, {_p(row)}){_both(row)}."
            )
    if scaled := [row for name, row in whole.items() if name.startswith("scaled")]:
        said = [f"{row.intervention.partition('=')[2]}: {_share(row.changed)}" for row in scaled]
        yield f"Answers that change when all thoughts are multiplied by a factor: by {', by '.join(said)}."


def _steered(row: EffectRow, whole: Mapping[str, EffectRow]) -> str:
    """How many answers become the donor's, and under noise, which is compared with a pair's where there are some."""
    if row.to_donor is None:
        return ""
    noise = whole.get("noise") if row.intervention == ("pair" if "pair" in whole else "other_gold") else None
    beside = f" (noise: {_share(noise.to_donor)})" if noise is not None and noise.to_donor is not None else ""
    base = "" if row.donors == row.questions else f" of the {row.donors:,} where that is another"
    return f", to the donor's in {_share(row.to_donor)}{base}{beside}"


def _both(row: EffectRow) -> str:
    return f", and both of {_share(row.pair_accuracy)} of the pairs" if row.pair_accuracy is not None else ""


def _one_by_one(rows: Sequence[EffectRow]) -> Iterator[str]:
    """What each thought is worth, by the first edit that there is."""
    for name, what in _ONE_BY_ONE.items():
        said = []
        for scope, effect, words in _SCOPES:
            own = [row for row in rows if (row.intervention, row.scope, row.effect) == (name, scope, effect)]
            if own:
                said.append(f"{words} {_numbered([(row.thought or 0, _share(row.changed)) for row in own])}")
        if said:
            yield f"Answers that change when a thought {what}, by its number: {'; '.join(said)}."
            return


def _weighed(rows: Sequence[WeightRow]) -> Iterator[str]:
    """What each thought is worth by other measures, and whether thoughts still move."""
    if not rows:
        return
    if len(rows) > _MANY:
        alike = [(row.thought, f"{row.previous:.2f}") for row in rows if row.previous is not None]
        yield f"Cosine with the thought before, by its number: {_numbered(alike)}."
        return
    said = [f"gradient times state {', '.join(f'{row.gradient:.2g}' for row in rows)} nats"]
    if (agreeing := [row.agreement for row in rows if row.agreement is not None]) and len(agreeing) == len(rows):
        said[0] += f" (r = {_listed(agreeing)} with what the text loses when the thought is zero)"
    if (shares := [row.attention for row in rows if row.attention is not None]) and len(shares) == len(rows):
        said.append(f"attention of the text {', '.join(map(_share, shares))}")
    if befores := [row.previous for row in rows if row.previous is not None]:
        said.append(f"cosine with the thought before {_listed(befores)}")
    yield f"Second opinion, by thought: {'; '.join(said)}."


def _numbered(values: Sequence[tuple[int, str]]) -> str:
    """Values with the numbers of their thoughts; neighbours that show the same value are put together."""
    runs = [list(run) for _, run in groupby(values, key=lambda one: one[1])]
    return ", ".join(
        f"{run[0][1]} ({run[0][0]})" if len(run) == 1 else f"{run[0][1]} ({run[0][0]} to {run[-1][0]})" for run in runs
    )


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _verdict(whole: Mapping[str, EffectRow]) -> Iterator[str]:
    """What follows for the question whether the thoughts do anything, in one sentence."""
    known, strange = ([whole[name] for name in names if name in whole] for names in (_KNOWN, _STRANGE))
    if not known and not strange:
        return
    costly = [row for row in known if row.p < _SURE and row.lost > row.gained]
    free = ", ".join(row.intervention for row in known if row not in costly)
    if not any(row.changed for row in (*known, *strange)):
        yield "Not one answer depends on what the thoughts are."
    elif not known:
        yield "Zero and noise are what no model has seen: whether it matters what thoughts hold, mean and donors say."
    elif len(costly) == len(known):
        order = [whole[name] for name in _ORDER if name in whole]
        unmoved = bool(order) and all(row.p >= _SURE for row in order)
        also = "; the order that they come in makes no difference that shows" if unmoved else ""
        yield f"What the thoughts hold decides answers: to replace all of them costs right ones (p < {_SURE}){also}."
    elif costly:
        yield f"Some of what replaces all thoughts costs right answers (p < {_SURE}); no loss shows for {free}."
    elif any(row.p < _SURE and row.lost > row.gained for row in strange):
        names = " and ".join(row.intervention for row in strange if row.p < _SURE and row.lost > row.gained)
        yield (
            f"What the thoughts hold of a question does not show in the answers: {names} cost right ones, so the model"
            f" looks at its thoughts, and {free} do not (p ≥ {_SURE})."
        )
    else:
        yield f"Nothing that replaces all thoughts costs right answers beyond chance (p ≥ {_SURE})."


def _p(row: EffectRow) -> str:
    return "p < 0.001" if row.p < 0.001 else f"p = {row.p:.3f}" if row.p < 0.1 else f"p = {row.p:.2f}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
