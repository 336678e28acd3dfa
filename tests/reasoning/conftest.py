"""The tiny models that the tests of the core share."""

from __future__ import annotations

import pytest
from transformers import PreTrainedModel

from tests.models import ARCHITECTURES, tiny_model


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """One model of each architecture, in turns; its weights must be left as they are."""
    return tiny_model(request.param)
