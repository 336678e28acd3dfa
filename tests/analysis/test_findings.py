"""What is said of effects in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lcot.analysis.effects import EffectRow
from lcot.analysis.findings import findings
from lcot.analysis.weights import WeightRow
from lcot.metrics.statistics import mcnemar, wilson

BASE = EffectRow(
    intervention="none", scope="all", thought=None, effect="direct", steps=None, questions=300, correct=288,
    accuracy=0.96, low=0.93, high=0.98, before=0.96, lost=0, gained=0, p=1.0, pairs=0, pair_accuracy=None,
    pair_before=None, changed=0.0, changed_low=0.0, changed_high=0.01, donors=290, to_donor=0.0, to_donor_low=0.0,
    to_donor_high=0.01, to_donor_gold=0.0,
    text_change=0.0, answer_change=0.0,
)  # fmt: skip


def row(intervention: str, lost: int = 0, gained: int = 0, **changes: Any) -> EffectRow:
    correct, changed = 288 - lost + gained, lost + gained
    (low, high), (changed_low, changed_high) = wilson(correct, 300), wilson(changed, 300)
    found: dict[str, Any] = {"accuracy": correct / 300, "low": low, "high": high, "changed": changed / 300}
    found |= {"changed_low": changed_low, "changed_high": changed_high, "p": mcnemar(lost, gained), **changes}
    return replace(BASE, intervention=intervention, lost=lost, gained=gained, **found)


def test_all_lines() -> None:
    rows = [
        BASE,
        replace(BASE, steps=2, accuracy=0.5),
        row("zero", 158, 0),
        row("mean", 150, 6),
        row("other_gold", 146, 0, changed=0.61, to_donor=0.48),
        row("noise", 147, 0, to_donor=0.01),
        row("same_gold", 3, 1, questions=120),
        row("reverse", 3, 1),
        row("shuffle", 2, 2),
        row("scaled=2", 1, 0),
        row("other_gold", 3, 0, scope="one", thought=1),
        row("other_gold", 90, 0, scope="one", thought=2),
        row("other_gold", 60, 0, scope="one", thought=1, effect="total"),
        row("zero", 60, 0, scope="one", thought=1),
    ]
    assert findings(rows, 4) == [
        "300 questions with 4 thoughts each: 96.0 % are answered correctly (95 % interval 93.0 % to 98.0 %).",
        "Answers that change when all thoughts become zero: 52.7 % (43.3 % right, p < 0.001), their mean over the"
        " questions: 52.0 % (48.0 % right, p < 0.001), noise of the same norm: 49.0 % (47.0 % right, p < 0.001).",
        "Replacing all thoughts by another question's with another answer changes 61.0 % of the answers, to the"
        " donor's in 48.0 % of the 290 where that is another (noise: 1.0 %): 47.3 % are right (96.0 % before,"
        " p < 0.001).",
        "Replacing all thoughts by another question's with the same answer (120 have one) changes 1.3 % of the answers:"
        " 95.3 % are right (96.0 % before, p = 0.62).",
        "Putting the thoughts in reverse order changes 1.3 % of the answers: 95.3 % are right (96.0 % before,"
        " p = 0.62).",
        "Putting the thoughts in another order changes 1.3 % of the answers: 96.0 % are right (96.0 % before,"
        " p = 1.00).",
        "Answers that change when all thoughts are multiplied by a factor: by 2: 0.3 %.",
        "Answers that change when a thought is another question's with another answer, by its number: alone 1.0 % (1),"
        " 30.0 % (2); when those behind it are thought anew 20.0 % (1).",
        "What the thoughts hold decides answers: to replace all of them costs right ones (p < 0.05); the order that"
        " they come in makes no difference that shows.",
    ]


def test_pairs() -> None:
    base = replace(BASE, pairs=150, pair_accuracy=0.9, pair_before=0.9)
    rows = [row("noise", 9, to_donor=0.02), row("pair", 99, to_donor=0.5, pair_accuracy=0.25), row("other_gold", 3)]
    assert findings([base, *rows], 2)[:4] == [
        "300 questions with 2 thoughts each: 96.0 % are answered correctly (95 % interval 93.0 % to 98.0 %), and both"
        " of 90.0 % of the pairs.",
        "Answers that change when all thoughts become noise of the same norm: 3.0 % (93.0 % right, p = 0.004).",
        "Replacing all thoughts by those of the other question about the same facts changes 33.0 % of the answers,"
        " to the donor's in 50.0 % of the 290 where that is another (noise: 2.0 %): 63.0 % are right (96.0 % before,"
        " p < 0.001), and both of 25.0 % of the pairs.",
        "Replacing all thoughts by another question's with another answer changes 1.0 % of the answers, to the"
        " donor's in 0.0 % of the 290 where that is another: 95.0 % are right (96.0 % before, p = 0.25).",
    ]


def test_second_opinion() -> None:
    first = WeightRow(1, 300, 0.25, 0.5, 0.02, None, 0.0)
    second = replace(first, thought=2, gradient=-1.0, previous=0.75, moved=1.0)
    assert findings([BASE], 2, [first, second])[1:] == [
        "Second opinion, by thought: gradient times state 0.25, -1 nats (r = 0.50, 0.50 with what the text loses"
        " when the thought is zero); attention of the text 2.0 %, 2.0 %; cosine with the thought before 0.75."
    ]
    bare = replace(first, agreement=None, attention=None)
    assert findings([BASE], 1, [bare])[1:] == ["Second opinion, by thought: gradient times state 0.25 nats."]


def test_many_thoughts_are_put_together() -> None:
    shares = [100, 60, 0, 0, 0, 0, 0, 0, 3, 3]
    rows = [row("pair", lost, scope="one", thought=number) for number, lost in enumerate(shares, 1)]
    weighed = [WeightRow(n, 300, 0.25, 0.5, 0.02, None if n == 1 else 0.4 if n < 4 else 1.0, 0.0) for n in range(1, 11)]
    assert findings([BASE, *rows], 10, weighed)[1:] == [
        "Answers that change when a thought is that of the other question about the same facts, by its number:"
        " alone 33.3 % (1), 20.0 % (2), 0.0 % (3 to 8), 1.0 % (9 to 10).",
        "Cosine with the thought before, by its number: 0.40 (2 to 3), 1.00 (4 to 10).",
    ]


def last(*rows: EffectRow) -> str:
    return findings([BASE, *rows], 1)[-1]


def test_what_follows() -> None:
    assert last(row("zero"), row("mean")) == "Not one answer depends on what the thoughts are."
    assert last(row("zero", 9, 7), row("mean", 1, 1)).startswith("Nothing that replaces all thoughts costs right")
    assert last(row("mean", 99), row("other_gold", 1, 1)).endswith("(p < 0.05); no loss shows for other_gold.")
    decided = "What the thoughts hold decides answers: to replace all of them costs right ones (p < 0.05)."
    assert last(row("mean", 99), row("reverse", 99)) == decided
    assert last(row("mean", 99), row("zero", 1)) == decided
    assert last(row("mean", 99, 1), row("covariance", 0, 9)).endswith("no loss shows for covariance.")  # it gains
    assert last(row("zero", 99)).startswith("Zero and noise are what no model has seen")
    assert last(row("zero", 99), row("noise", 1), row("mean", 1, 1), row("other_gold")) == (
        "What the thoughts hold of a question does not show in the answers: zero cost right ones, so the model looks at"
        " its thoughts, and mean, other_gold do not (p ≥ 0.05)."
    )
    assert findings([BASE], 1) == [
        "300 questions with 1 thought each: 96.0 % are answered correctly (95 % interval 93.0 % to 98.0 %)."
    ]


def test_without_donors() -> None:
    told = findings([BASE, row("other_gold", 9, 0, to_donor=None), row("noise", 1, 0)], 2)
    assert "of the answers: 93.0 % are right" in told[2]
    assert (
        "hidden from the text, by its number: alone 1.0 % (1)"
        in findings([BASE, row("hidden", 3, scope="one", thought=1)], 2)[1]
    )
