"""The command line: ``python -m lcot COMMAND -c config.yaml [--any.setting=value]``, and what takes run folders.

This module imports nothing heavy: help, a wrong word and a missing file are answered at once.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence

from lcot import __version__
from lcot.cli.early import check_early
from lcot.cli.outside import outside_error
from lcot.cli.read import read_settings
from lcot.cli.words import arranged
from lcot.errors import UserError
from lcot.settings import COMMANDS, Settings, process_rank, refuse

STOPPED = 128 + signal.SIGTERM
"""Exit code of a run that was told to stop."""

INTERRUPTED = 128 + signal.SIGINT
"""Exit code behind Ctrl-C, whether a run saved its state first or not."""

_HELP = f"""\
usage: lcot COMMAND -c CONFIG [-c OVERLAY …] [--SETTING=VALUE …]

Train, evaluate and explain language models that reason in continuous space.

commands:
{chr(10).join(f"  {name:<10}{text}" for name, text in COMMANDS.items())}

examples:
  lcot fit -c prosqa                                  train; the run is in runs/prosqa
  lcot fit -c prosqa -c cot                           the same with another method
  lcot fit -c prosqa --data.batch_size=32 --name b32  change any setting
  lcot fit -c prosqa --resume=true                    continue where it stopped
  lcot test -c runs/prosqa/config.yaml                evaluate the best checkpoint of a run
  lcot show -c prosqa                                 an example's rows, as the model reads them
  lcot analyze runs/prosqa                            what its thoughts hold, with a report to look through
  lcot probe runs/prosqa                              whether its thoughts do anything, by changing them
  lcot compare runs/*                                 all runs in one table
  lcot configs                                        what -c NAME can be; the path of a file works too

more:
  lcot COMMAND --help                     all settings of a command
  lcot COMMAND --model.help=Coconut       the settings of a class; --data.help=ProsQA and so on likewise
  lcot COMMAND -c CONFIG --print_config   everything that would be used, defaults included
  lcot COMMAND … --code FILE.py           let a run's config name classes of this file (docs/trust.md)
  lcot --version
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; settings that cannot be used end in one block on stderr and exit code 2."""
    words = list(sys.argv[1:] if args is None else args)
    if args is None and not sys.flags.safe_path:
        # Classes of one's own are found in the current folder, whichever way this was started. Behind all that is
        # installed: it may be another's folder, and a yaml.py in it must not stand in for the real one.
        here = os.getcwd()
        sys.path[:] = [*(place for place in sys.path if place not in ("", here)), here]
    if words[:1] in (["-h"], ["--help"], ["help"]):
        print(_HELP, end="")
        return
    if words[:1] == ["--version"]:
        print(f"lcot {__version__}")
        return
    # Tokenizers' own threads and forked data-loader workers do not go together.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Lightning 2.6 calls functions of jsonargparse that version 5 removes; pyproject.toml keeps version 5 out.
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    settings = Settings()
    stopped: int | None = None
    try:
        if words[:1] == ["compare"]:
            from lcot.cli.compare import run_compare

            code = run_compare(words[1:])
            if code:
                raise SystemExit(code)
            return
        if words[:1] == ["show"]:
            from lcot.cli.show import run_show

            run_show(words[1:])
            sys.stdout.flush()
            return
        if words[:1] == ["analyze"]:
            from lcot.cli.analyze import run_analyze

            run_analyze(words[1:])
            return
        if words[:1] == ["probe"]:
            from lcot.cli.probe import run_probe

            run_probe(words[1:])
            return
        if words[:1] == ["import"]:
            from lcot.cli.importing import run_import

            run_import(words[1:])
            sys.stdout.flush()
            return
        if words[:1] == ["convert"]:
            from lcot.cli.convert import run_convert

            run_convert(words[1:])
            sys.stdout.flush()
            return
        if words[:1] == ["configs"]:
            from lcot.cli.configs import run_configs

            run_configs(words[1:])
            sys.stdout.flush()
            return
        if not words or words[0] not in COMMANDS:
            raise _no_command(words[0] if words else None)
        from lcot.runs.configs import with_paths

        line = [words[0], *with_paths(arranged(words[1:]))]
        settings = read_settings(line)
        settings.words = words  # results keep the command as it was typed
        check_early(settings)
        from lcot.cli.commands import run

        stopped = run(line, settings)
    except KeyboardInterrupt:
        if process_rank() == "0":
            saved = "; what was saved before is untouched" if words[:1] == ["fit"] else ""
            sys.stderr.write(f"lcot: interrupted{saved}\n")
        raise SystemExit(INTERRUPTED) from None
    except UserError as err:
        refuse(err, settings)
    except BrokenPipeError:
        if words[:1] == ["fit"] and "--print_config" not in words:
            raise
        # Whoever reads what is printed, such as head, has had enough; what is left of it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as err:
        refused = outside_error(err, words[0] if words else None)
        if refused is None:
            raise
        refuse(refused, settings)
    # Lightning kills rank 0 where another rank ends with an error, so rank 0 alone tells how it went.
    if stopped is not None and process_rank() == "0":
        if words[:1] == ["fit"]:
            said = "stopped as asked; the state is saved, and the same command with --resume=true continues it"
        else:
            said = "stopped as asked; nothing was written"
        sys.stderr.write(f"lcot: {said}\n")
        raise SystemExit(128 + stopped)


def _no_command(word: str | None) -> UserError:
    listed = f"the commands are {', '.join(COMMANDS)}"
    if word is None:
        return UserError("there is no command", why=listed, fix="lcot fit -c prosqa, or lcot --help")
    if word.startswith("-"):
        return UserError(f"{word!r} stands before the command", why=listed, fix="begin with the command: lcot fit …")
    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5) or {"train": ["fit"], "eval": ["test"]}.get(word)
    return UserError(
        f"there is no command {word!r}", why=listed, fix=f"did you mean {near[0]!r}?" if near else "see lcot --help"
    )
