"""``lcot convert``: a GGUF file as a folder of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lcot.cli.options import OptionParser
from lcot.errors import UserError

_DESCRIPTION = """\
A GGUF file's model and tokenizer as a folder of Hugging Face, with plain numbers for quantised ones. The settings
model.backbone.path and data.tokenizer take such a file as well, and keep that folder in the cache.

  lcot convert model.Q4_K_M.gguf my-model
  lcot convert model.Q4_K_M.gguf my-model --dtype bfloat16    half the size, rounded
"""


def parser() -> OptionParser:
    """The options of ``lcot convert``."""
    made = OptionParser("convert", "FILE.gguf FOLDER [--dtype TYPE]", _DESCRIPTION)
    made.add_argument("file", type=Path, metavar="FILE.gguf", help="the file")
    made.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to make, which is not there yet")
    made.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="type of the weights (default: float32, which is exact)",
    )
    return made


def run_convert(words: Sequence[str]) -> None:
    """Run the command.

    Args:
        words: The command line behind ``convert``.

    Raises:
        UserError: If the file cannot be read, or there is something at the folder's place.
    """
    chosen = parser().parse_args(words)
    if chosen.folder.exists():
        raise UserError(f"there is something at {str(chosen.folder)!r} already", fix="give a folder that is new")
    from lcot.pretrained.gguf import convert

    convert(chosen.file, chosen.folder, chosen.dtype)
    where = f"--model.backbone='{{path: {chosen.folder}, config: null}}' --data.tokenizer={chosen.folder}"
    print(f"written: {chosen.folder}, for {where}")
