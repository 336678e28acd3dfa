"""What a run is called, and what it is one of."""

from __future__ import annotations

import pytest

from lcot.cli.names import group_of, name_from
from lcot.errors import UserError


def test_a_run_is_called_by_its_configs() -> None:
    assert name_from(["configs/prosqa.yaml", "configs/methods/cot.yaml"]) == "prosqa-cot"
    with pytest.raises(UserError, match="the run has no name"):
        name_from(None)


@pytest.mark.parametrize(
    ("configs", "group"),
    [
        (["prosqa.yaml", "methods/cot.yaml"], "prosqa-cot"),
        (["runs/x/config.yaml"], "x-0"),
        (["runs/x/config.resume2.yaml", "more.yaml"], "x-0"),
        (["my_config.yaml"], "my_config"),
        (None, "x-0"),
    ],
)
def test_seeds_of_a_method_are_a_group(configs: list[str] | None, group: str) -> None:
    assert group_of(configs, "x-0") == group
