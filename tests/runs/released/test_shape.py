"""A released model's configuration, as a config of one's own would have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lcot.errors import UserError
from lcot.modules.backbone import Backbone
from lcot.runs.released.files import Files
from lcot.runs.released.shape import shape_of


def beside(**fields: Any) -> Files:
    return Files({}, (), {"config.json": fields})


def test_only_what_is_not_the_default_is_kept_and_the_tokenizer_decides_the_rest() -> None:
    told = {"architectures": ["X"], "vocab_size": 9, "eos_token_id": 3, "torch_dtype": "bfloat16", "n_layer": 3}
    shape = shape_of(beside(model_type="pccot-gpt2", num_iterations=3, n_head=12, **told), None)
    assert shape == {"model_type": "gpt2", "n_layer": 3}
    Backbone(config=shape).check_config()


def test_rotary_settings_of_older_versions_count() -> None:
    old = {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    shape = shape_of(beside(model_type="llama", hidden_size=64, num_attention_heads=4, **old), None)
    assert shape is not None and shape["rope_parameters"]["rope_theta"] == 500000.0
    assert shape["rope_parameters"]["factor"] == 2.0
    Backbone(config={**shape, "num_hidden_layers": 1, "intermediate_size": 8}).check_config()


def test_the_folder_that_the_user_names_counts_first(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 5}))
    assert shape_of(beside(model_type="llama"), tmp_path) == {"model_type": "gpt2", "n_layer": 5}
    assert shape_of(Files({}, (), {}), None) is None
    with pytest.raises(UserError, match=r"there is no config\.json"):
        shape_of(beside(), tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["bert", "t5", "", "nothing"])
def test_no_decoder_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match="no decoder"):
        shape_of(beside(model_type=kind), None)
