"""What a run is called where the user did not say."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from lcot.errors import UserError


def name_from(configs: Any) -> str:
    """Prosqa and methods/cot give ``prosqa-cot``."""
    paths = configs if isinstance(configs, list) else [configs] if configs else []
    stems = [Path(str(path)).stem for path in paths if path is not None]
    if not stems:
        raise UserError("the run has no name", where="--name", fix="give --name, or a config with -c")
    return "-".join(stems)


def group_of(configs: Any, name: str) -> str:
    """What a run is one of: its configs, whatever its seed; the run itself where they are a run's own."""
    with suppress(UserError):
        made_of = name_from(configs)
        return name if re.search(r"(^|-)config(\.resume\d+)?($|-)", made_of) else made_of
    return name
