"""GGUF files, the format of llama.cpp, as folders of Hugging Face: dequantised once, and kept.

Whatever is quantised in the file is a plain number afterwards, exactly the one that it stood for, so that it can be
trained, saved and exported like any other model.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

from lcot.errors import UserError, needs

_log = logging.getLogger("lcot")

SUFFIX = ".gguf"

Precision = Literal["float32", "bfloat16", "float16"]
"""What a folder may hold; float32 is what a file's numbers are without rounding."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_FIX = "check the file, or download it again"
_LINK = b"version https://git-lfs.github.com/spec/"


def is_gguf(name: str | Path | None) -> bool:
    """Whether a name is that of a GGUF file, there or not."""
    return name is not None and Path(name).suffix.lower() == SUFFIX


def folder_of(file: str | Path) -> Path:
    """The folder of a GGUF file's model and tokenizer, in the user's cache; converted if it is not there.

    Args:
        file: The file. Its content decides, and not its place.

    Raises:
        UserError: If it cannot be read, or is no model that transformers has.
    """
    import transformers

    source = _checked(file)
    with source.open("rb") as opened:
        digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=12)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lcot" / "gguf"
    target = cache / f"{source.stem}-{digest}-{transformers.__version__}"
    if not (target / "config.json").is_file():
        _log.info("%s: its weights are dequantised to float32, once, and kept in %s", source.name, target)
        convert(source, target)
    return target


def convert(file: str | Path, target: Path, precision: Precision = "float32") -> None:
    """Write a GGUF file's model and tokenizer as ``save_pretrained`` does; the folder is whole, or not there.

    Args:
        file: The file.
        target: The folder, which is not there yet.
        precision: Type of the weights.

    Raises:
        UserError: If the file cannot be read, is no model that transformers has, or nothing can be written.
    """
    source = _checked(file)
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        model, tokenizer = _read(source, precision)
        model.save_pretrained(str(part))
        tokenizer.save_pretrained(str(part))
        try:
            part.rename(target)
        except OSError:
            if not (target / "config.json").is_file():
                raise
            # Another process was there first, with the same bits.
    except OSError as err:
        raise UserError(
            f"nothing can be written to {str(target)!r}",
            why=err.strerror or str(err),
            fix="free some space, or give another folder (XDG_CACHE_HOME is where the cache is)",
        ) from err
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _checked(file: str | Path) -> Path:
    """The file.

    Raises:
        UserError: If there is none, it is no GGUF file, or what reads it is not installed.
    """
    source = Path(file).expanduser()
    if not source.is_file():
        near = sorted(other.name for other in source.parent.glob(f"*{SUFFIX}")) if source.parent.is_dir() else []
        found = f"there are {', '.join(near[:8])}" if near else None
        raise UserError(f"there is no file {str(file)!r}", why=found, fix="check the path")
    with source.open("rb") as opened:
        begin = opened.read(64)
    if begin.startswith(_LINK):
        why, fix = "it is a Git LFS pointer, not the file itself", "git lfs pull, or download it again"
    elif not begin.startswith(b"GGUF"):
        why, fix = "it does not begin as such a file does", _FIX
    else:
        needs("gguf", "gguf", "accelerate", what=f"a {SUFFIX} file", where=str(file))
        return source
    raise _refused(source, why, fix)


def _read(source: Path, precision: Precision) -> tuple[Any, Any]:
    """The model, with nothing of the file's format left on it, and the tokenizer.

    Raises:
        UserError: If the file is damaged, or of an architecture that transformers has not.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    place, own = str(source.parent), {"gguf_file": source.name, "local_files_only": True, "trust_remote_code": False}
    try:
        plainly: Any = GgufConfig(dequantize=True)
        found: Any = AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, quantization_config=plainly, output_loading_info=True, **own
        )
        tokenizer = AutoTokenizer.from_pretrained(place, **own)
    except OSError as err:
        if err.errno is not None:
            raise
        raise _refused(source, _line(err), _FIX) from err
    except Exception as err:  # the parsers of two libraries raise what they like
        unknown = "architecture" in str(err)
        raise _refused(
            source, _line(err), "use a model of a type that transformers reads" if unknown else _FIX
        ) from err
    read, told = found
    if missing := sorted({*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise _refused(source, f"it has no {missing[0]}{more}, which would be random numbers", _FIX)
    fields = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    config = type(read.config).from_dict(fields)
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    weights = {name: weight.to(getattr(torch, precision)) for name, weight in read.state_dict().items()}
    plain.load_state_dict(weights, assign=True)
    plain.tie_weights()
    plain.generation_config = read.generation_config
    return plain, tokenizer


def _refused(source: Path, why: str, fix: str) -> UserError:
    return UserError(f"the GGUF file {str(source)!r} could not be read", why=why, fix=fix)


def _line(err: BaseException) -> str:
    return str(err).strip().split("\n")[0] or type(err).__name__
