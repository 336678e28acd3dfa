"""``lcot import``: weights that others released, as a run that all commands take.

Nothing heavy is imported before the options are read, so a wrong one is answered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcot.cli.early import check_early
from lcot.cli.read import read_settings
from lcot.cli.words import arranged, options
from lcot.errors import UserError
from lcot.runs.configs import with_paths
from lcot.settings import Settings, cut, refuse

if TYPE_CHECKING:
    from lcot.runs.released.files import Files
    from lcot.runs.released.names import Released

_USAGE = """\
usage: lcot import FILE_OR_FOLDER … -c CONFIG [-c METHOD …] [--base FOLDER] [--lora_alpha N] [--SETTING=VALUE …]

Make a run of weights that others released: Coconut, CODI, PCCoT, SIM-CoT, LOTUS or C-MTP, told by the names of their
tensors (safetensors, or a state dict that torch.save wrote). test, predict, analyze, compare and lcot.load take it.

  lcot import CODI-gpt2/ --base gpt2/ -c gsm8k -c codi --name codi-gpt2
  lcot test -c runs/codi-gpt2/config.yaml --data.test_path=test.txt

  --base FOLDER    the model that was trained: its config.json and tokenizer; its weights too where only an adapter was
                   released. Nothing is fetched
  --lora_alpha N   of LoRA, where the files do not say it; 32 for rank 128, as published
"""


def run_import(words: Sequence[str]) -> None:
    """Run the command; what cannot be imported ends in one block on stderr and exit code 2.

    Args:
        words: The command line behind ``import``.
    """
    if any(word in ("-h", "--help") for word in words):
        print(_USAGE, end="")
        return
    settings = Settings()
    try:
        paths, base, alpha, rest = _own_options(words)
        if base is not None:
            rest += [f"--data.tokenizer={base}"] * (not any(w.startswith("--data.tokenizer") for w in rest))
        line = ["fit", *with_paths(arranged(rest))]
        settings = read_settings(line)
        settings.words = ["import", *words]
        check_early(settings)
        _run(line, settings, paths, base, alpha)
    except UserError as err:
        refuse(err, settings)


def _run(line: Sequence[str], settings: Settings, paths: list[Path], base: Path | None, alpha: float | None) -> None:
    from lcot.cli.commands import ReasoningCLI, run
    from lcot.cli.importing_run import write_run
    from lcot.runs.released.files import read_files
    from lcot.runs.released.names import recognised
    from lcot.runs.released.shape import shape_of

    files = read_files(paths)
    released = recognised(files)
    shape = shape_of(files, base)

    class Import(ReasoningCLI):
        """Makes module, data and curriculum only: no trainer, no device."""

        def before_instantiate_classes(self) -> None:
            chosen = self.check_settings()
            self._name(chosen)
            _as_plain(chosen.model.init_args.backbone, shape)
            chosen.trainer.logger = False
            self.folder.start_from(False, {})

        def _name(self, chosen: Any) -> None:
            from lcot.cli.checks import check_name
            from lcot.cli.names import name_from
            from lcot.runs.folder import RunFolder

            name = chosen.name if chosen.name is not None else name_from(chosen.get("config"))
            check_name(name, chosen.runs_dir)
            chosen.name, self.folder = name, RunFolder(Path(chosen.runs_dir) / name)

        def instantiate_trainer(self, **kwargs: Any) -> Any:
            return None

        def _run_subcommand(self, subcommand: str) -> None:
            made = self.config_init[subcommand]
            write_run(
                self.folder, self.config[subcommand], self.model, self.datamodule, made.curriculum, released, files,
                alpha, base,
            )  # fmt: skip
            _say(self.folder.path, released, files)

    run(line, settings, Import)


def _as_plain(backbone: Any, shape: dict[str, Any] | None) -> None:
    """Let a run's model be one of all plain weights, of the released shape: it needs nothing beside its checkpoint."""
    if shape is None and backbone.config is None:
        raise UserError(
            "nothing says what shape the released model has",
            where="model.backbone.config",
            why="a state dict holds no configuration (number of heads, activation, positions)",
            fix="give the folder of the base model, with its config.json: --base FOLDER",
        )
    backbone.path = backbone.lora = backbone.revision = None
    if shape is not None:
        backbone.config = shape


def _say(path: Path, released: Released, files: Files) -> None:
    print(f"{path} is a run of {released.source}, {len(files.tensors)} tensors: lcot test -c {path / 'config.yaml'}")
    for line in released.left_out:
        print(f"left out: {line}")


def _own_options(words: Sequence[str]) -> tuple[list[Path], Path | None, float | None, list[str]]:
    """Files, ``--base`` and ``--lora_alpha`` of a command line, and all other words."""
    paths: list[Path] = []
    own: dict[str, str] = {}
    rest: list[str] = []
    for option in options(words):
        if not option.name:
            paths += map(Path, option.words)
        elif option.name in ("--base", "--lora_alpha"):
            own[option.name] = option.value or ""
        else:
            rest += option.words
    if not paths:
        raise UserError("lcot import without a file", where="the command line", fix="lcot import FILE -c gsm8k -c codi")
    base, alpha = own.get("--base"), own.get("--lora_alpha")
    if base is not None and not Path(base).is_dir():
        raise UserError(f"--base is {cut(base)!r}", where="--base", why="there is no such folder", fix="check the path")
    try:
        number = None if alpha is None else float(alpha)
    except ValueError:
        number = 0.0
    if number is not None and not 0 < number < 1e6:
        raise UserError(f"--lora_alpha is {cut(str(alpha))!r}", where="--lora_alpha", fix="give a number above 0")
    return paths, Path(base) if base is not None else None, number, rest
