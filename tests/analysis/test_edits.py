"""Each edit on thoughts that are small enough to be worked out on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lcot.analysis.edits import DEFAULT, EDITS, Material, Scope, edit_of, interventions
from lcot.errors import UserError

OWN = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
MEAN = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
THEIRS = torch.tensor([[7.0, 0.0], [8.0, 0.0], [9.0, 0.0]])
DEVIATIONS = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
MATERIAL = Material(4, OWN, MEAN, DEVIATIONS - DEVIATIONS.mean(dim=0), {"other_gold": THEIRS})


def new(name: str, material: Material = MATERIAL) -> Tensor:
    made = edit_of(name).new(material)
    assert made is not None and made.shape == OWN.shape
    return made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zero", [[0, 0], [0, 0], [0, 0]]),
        ("mean", [[1, 1], [2, 2], [3, 3]]),
        ("other_gold", [[7, 0], [8, 0], [9, 0]]),
        ("reverse", [[1, 0], [0, 2], [3, 4]]),
        ("first", [[3, 4], [3, 4], [3, 4]]),
        ("scaled=2", [[6, 8], [0, 4], [2, 0]]),
        ("scaled=-0.5", [[-1.5, -2], [0, -1], [-0.5, 0]]),
        ("hidden", [[3, 4], [0, 2], [1, 0]]),
    ],
)
def test_what_is_on_paper(name: str, expected: list[list[float]]) -> None:
    assert new(name).tolist() == expected


def test_noise_is_as_long_as_the_thoughts_and_keyed() -> None:
    made = new("noise")
    assert made.norm(dim=-1).tolist() == pytest.approx([5.0, 2.0, 1.0])
    assert torch.equal(made, new("noise")) and not torch.allclose(made, new("noise", replace(MATERIAL, number=5)))
    assert not torch.allclose(made, new("noise", replace(MATERIAL, seed=1)))
    other = new("noise", replace(MATERIAL, own=torch.ones_like(OWN)))
    assert torch.allclose(made / made.norm(dim=-1, keepdim=True), other / other.norm(dim=-1, keepdim=True))


def test_noise_of_the_same_covariance() -> None:
    """Over many questions its mean and its covariance, between places as well, are those of the thoughts."""
    drawn = torch.stack([new("covariance", replace(MATERIAL, number=number)).flatten() for number in range(4000)])
    held = MATERIAL.deviations.flatten(1).double()
    assert torch.allclose(drawn.mean(dim=0), MEAN.flatten(), atol=0.1)
    assert torch.allclose(drawn.T.cov(), (held.T @ held / 4).float(), atol=0.15)
    assert torch.linalg.matrix_rank(drawn - MEAN.flatten(), atol=1e-3) == 4  # it leaves their span nowhere
    assert torch.equal(new("covariance"), new("covariance"))


def test_a_shuffle_is_another_order_and_keyed() -> None:
    orders = [new("shuffle", replace(MATERIAL, number=number)) for number in range(40)]
    rows = sorted(map(tuple, OWN.tolist()))
    assert all(sorted(map(tuple, made.tolist())) == rows and not torch.equal(made, OWN) for made in orders)
    assert len({str(made.tolist()) for made in orders}) == 5  # all orders of three but their own
    assert torch.equal(new("shuffle"), new("shuffle"))


def test_without_a_donor_there_is_nothing() -> None:
    assert edit_of("same_gold").new(MATERIAL) is None


class TestInterventions:
    """Which thoughts are changed."""

    def test_scopes(self) -> None:
        made = {one.key: one.places.tolist() for one in interventions(["zero", "reverse"], 3)}
        assert made == {
            ("zero", "all", None, "direct"): [True, True, True],
            ("zero", "one", 1, "direct"): [True, False, False],
            ("zero", "one", 2, "direct"): [False, True, False],
            ("zero", "one", 3, "direct"): [False, False, True],
            ("zero", "from", 2, "direct"): [False, True, True],
            ("reverse", "all", None, "direct"): [True, True, True],
        }

    def test_total_effects_are_those_that_others_come_behind(self) -> None:
        made = [one.key for one in interventions(["zero", "reverse", "hidden"], 3, ["one"], total=True)]
        assert [key[2] for key in made if key[3] == "total"] == [1, 2]
        assert {key[0] for key in made if key[3] == "total"} == {"zero"}

    @pytest.mark.parametrize("k", [1, 2, 3, 5])
    @pytest.mark.parametrize("marked", [True, False])
    def test_none_is_another_one(self, k: int, marked: bool) -> None:
        made = [
            (one.edit.name, tuple(one.places.tolist()), one.effect)
            for one in interventions(DEFAULT, k, total=True, marked=marked)
        ]
        assert len(made) == len(set(made)) and all(any(places) for _, places, _ in made)

    def test_the_place_where_the_text_begins_is_not_hidden_from_it(self) -> None:
        made = [one.hidden.tolist() for one in interventions(["hidden"], 3, marked=False)]
        assert made == [[True, True, False], [True, False, False], [False, True, False]]
        assert list(interventions(["hidden"], 1, marked=False)) == []
        assert [one.hidden.tolist() for one in interventions(["hidden"], 1)] == [[True]]
        assert not any(one.hidden.any() for one in interventions(["zero", "shuffle"], 3))

    def test_the_others_keep_their_vectors(self) -> None:
        (one,) = [one for one in interventions(["other_gold"], 3) if one.scope == "from"]
        assert one.vectors(OWN, THEIRS).tolist() == [[3, 4], [8, 0], [9, 0]]

    @pytest.mark.parametrize("scope", ["all", "one", "from"])
    def test_single_scopes(self, scope: Scope) -> None:
        assert {one.scope for one in interventions(["zero"], 3, [scope])} == {scope}

    def test_orders_take_two_thoughts(self) -> None:
        assert {one.edit.name for one in interventions(DEFAULT, 1)} == {*DEFAULT} - {"reverse", "shuffle", "first"}
        assert {one.edit.name for one in interventions(DEFAULT, 2)} == {*DEFAULT}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("zeros", "did you mean 'zero'?"),
        ("other-gold", "did you mean 'other_gold'?"),
        ("scaled", "did you mean 'scaled=0.5'?"),
        ("scaled=much", "the factor of 'scaled=much' is no number"),
        ("scaled=nan", "is no number"),
        ("", "unknown intervention ''"),
    ],
)
def test_names(name: str, says: str) -> None:
    with pytest.raises(UserError) as err:
        edit_of(name)
    assert says in str(err.value)
    assert all(edit_of(name).name == name for name in DEFAULT) and set(EDITS) < set(DEFAULT)
