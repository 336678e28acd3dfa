"""Tokenizers: a small lossless one built from the data, and any of Hugging Face's by name or folder.

The word tokenizer is for models that are trained from scratch. A word is one token wherever it stands, a mark of
punctuation takes the whitespace behind it along, and one space between two words costs nothing:

    Tom terpus. terpus fompus.⏎   →   ▁Tom ▁terpus `. ` ▁terpus ▁fompus `.⏎`

The sign ▁ (U+2581) opens every word. It stands for a space exactly when a word ends directly before it, so decoding
needs no other rule and gives back every text, ▁ itself included; words that are not in the vocabulary are spelled in
bytes.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import huggingface_hub
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lcot.errors import UserError, shown
from lcot.pretrained.gguf import folder_of, is_gguf
from lcot.settings import check_asked

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"

_MARK = "\u2581"
# What the sequence layout puts between the texts of a problem, needed whatever the texts are.
_ALWAYS = (_MARK, " ", "\n", ".", ".\n", "### ")
_GENERIC = {"PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"}
_POINTER = b"version https://git-lfs.github.com/spec/"  # how what Git LFS leaves in the place of a file begins
_KNOWN_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "tokenizer.model", "spiece.model")


def build_word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    r"""A tokenizer whose vocabulary is the words and punctuation of some texts.

    Tokens are: a word (letters, digits, ``_``; at any place the same token), a run of punctuation with at most one
    whitespace character behind it (``". "``, ``"?\n"``, ``"### "``), a single whitespace character. A word that was
    not in ``texts`` becomes several tokens, its UTF-8 bytes where need be; nothing is ever unknown, and
    ``decode(encode(text)) == text`` for every text. Texts that are encoded piece by piece decode to their
    concatenation as long as no piece ends with a word where the next begins with one.

    Args:
        texts: What the vocabulary must cover with one token a word: questions, steps, answers. Each counts as it
            stands and with the newline that a layout puts behind it.

    Returns:
        A tokenizer without bos, with ``<|endoftext|>`` (id 0) as eos and ``<|pad|>`` (id 1), then 256 bytes, then the
        pieces in code point order; the same set of texts in any order gives the same ids.

    Raises:
        UserError: If there is no text with any character in it.
    """
    normalizer, splitter = _normalizer(), _splitter()
    pieces: set[str] = set()
    for text in texts:
        spans = splitter.pre_tokenize_str(normalizer.normalize_str(text))
        pieces.update(piece for piece, _ in spans)
        if spans and not spans[-1][0][-1].isspace():  # only the last piece can change when a newline follows
            pieces.update(piece for piece, _ in splitter.pre_tokenize_str(spans[-1][0] + "\n"))
    if not pieces:
        raise UserError(
            "a word tokenizer was asked for, but there is no text to take words from",
            fix="give the training texts, or load a ready tokenizer by name or folder",
        )
    special = [END_OF_TEXT, PADDING]
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    words = sorted(pieces.union(_ALWAYS) - set(special) - set(octets))
    vocabulary = {token: index for index, token in enumerate([*special, *octets, *words])}
    # A BPE without merges is a word list that can spell: whole pieces are looked up first, others fall apart.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True, byte_fallback=True))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            # A mark directly behind a word replaced the one space there; any other mark before a word replaced nothing.
            decoders.Replace(Regex(rf"(?<=\w){_MARK}(?=\w)"), " "),
            decoders.Replace(Regex(rf"{_MARK}(?=\w)"), ""),
        ]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,  # True would delete the spaces before "." and "," when decoding
    )


def _normalizer() -> normalizers.Sequence:
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"(?<!\w)(?=\w)"), _MARK),
            normalizers.Replace(Regex(rf"(?<=\w) {_MARK}(?=\w)"), _MARK),
        ]
    )


def _splitter() -> pre_tokenizers.Split:
    # Every word character follows a mark by now; a mark that came with the text is never followed by one.
    return pre_tokenizers.Split(Regex(rf"{_MARK}\w+|(?:(?!{_MARK}\w)[^\w\s])+\s?|\s"), "isolated")


def load_tokenizer(name_or_folder: str | Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or, by name, from the Hugging Face Hub or its local cache.

    A folder may hold what ``save_pretrained`` writes, or only GPT-2's ``vocab.json`` and ``merges.txt``. A name is
    looked for in the cache first, so a tokenizer that was used once needs no network again. Code that comes with a
    tokenizer is never run. A tokenizer without a padding token pads with its end-of-text token, which is harmless
    because padding carries no attention and no label.

    Args:
        name_or_folder: A path, a GGUF file's among them, or a Hub name such as ``openai-community/gpt2``.

    Returns:
        The tokenizer, with ``eos_token_id`` and ``pad_token_id`` set.

    Raises:
        UserError: If the folder or name cannot be found or reached, holds no tokenizer, or has no end-of-text token.
    """
    name = str(name_or_folder)
    try:
        folder = Path(name).expanduser()
        there = folder.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long, or nobody's home folder
        why = getattr(error, "strerror", None) or _first_line(error)
        raise UserError(f"no tokenizer can be called {shown(name)}", why=why) from error
    if there and is_gguf(folder):
        folder = folder_of(folder)
    if there:
        tokenizer = _from_folder(folder)
    elif isinstance(name_or_folder, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"there is no folder {name!r} to load a tokenizer from", fix=_neighbour(folder))
    else:
        tokenizer = _from_hub(name)
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_tokens):
        # transformers builds an empty tokenizer where it finds a model's config.json but no vocabulary.
        raise UserError(f"the tokenizer {name!r} has no words", why="its vocabulary file is missing", fix=_fix(name))
    try:
        tokenizer.decode(tokenizer("A word.\n")["input_ids"])
    except Exception as error:  # settings that nobody looked at when it was loaded
        raise UserError(f"the tokenizer {name!r} reads no text", why=_first_line(error), fix=_fix(name)) from error
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer {name!r} has no end-of-text token",
            why="every answer is closed by one; without it a model never learns to stop",
            fix="set eos_token in its tokenizer_config.json, or choose another tokenizer",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _from_folder(folder: Path) -> PreTrainedTokenizerBase:
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is a file, not a folder with a tokenizer", fix=f"give {str(folder.parent)!r}")
    found = {path.name for path in folder.iterdir()}
    own: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        if "tokenizer.json" in found and _declared_class(folder) in _GENERIC:
            # AutoTokenizer would look at a model's config.json beside it and, for some model types, put that model's
            # own way of splitting words over this vocabulary.
            return _checked(PreTrainedTokenizerFast.from_pretrained(str(folder), **own))
        if {"vocab.json", "merges.txt"} <= found and not found & {"tokenizer.json", "tokenizer_config.json"}:
            return _checked(GPT2Tokenizer.from_pretrained(str(folder), **own))
        if not found.intersection(_KNOWN_FILES):
            raise UserError(
                f"the folder {str(folder)!r} holds no tokenizer",
                why=f"none of {', '.join(_KNOWN_FILES)} is in it; found: {', '.join(sorted(found)[:8]) or 'nothing'}",
                fix="give a folder that save_pretrained wrote a tokenizer to",
            )
        return _auto(str(folder), local_files_only=True)
    except UserError:
        raise
    except Exception as error:  # the parsers of three libraries raise what they like, plain Exception among it
        why, fix = _first_line(error), "save or download it again"
        pointers = [
            name for name in _KNOWN_FILES if name in found and (folder / name).read_bytes().startswith(_POINTER)
        ]
        if pointers:
            why, fix = f"{pointers[0]} is a Git LFS pointer, not the file itself", f"git lfs pull, or {fix}"
        raise UserError(f"the tokenizer in {str(folder)!r} cannot be read", why=why, fix=fix) from error


def _from_hub(name: str) -> PreTrainedTokenizerBase:
    try:
        return _auto(name, local_files_only=True)
    except UserError:
        raise
    except Exception as error:
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise UserError(
                f"the tokenizer {name!r} is no folder here and not in the Hugging Face cache",
                why="HF_HUB_OFFLINE forbids a download",
                fix=_fix(name),
            ) from error
    check_asked(name, f"hf download {name}", "--data.tokenizer")
    try:
        # One quick question first: the download itself would retry for most of a minute before it gives up.
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:
        raise UserError(
            f"the tokenizer {name!r} is no folder here, not in the Hugging Face cache, and the Hub cannot be reached",
            why=_first_line(error),
            fix=_fix(name),
        ) from error
    try:
        return _auto(name, local_files_only=False)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the tokenizer {name!r} cannot be had from the Hugging Face Hub", why=_first_line(error), fix=_fix(name)
        ) from error


def _auto(name: str, *, local_files_only: bool) -> PreTrainedTokenizerBase:
    try:
        return _checked(AutoTokenizer.from_pretrained(name, local_files_only=local_files_only, trust_remote_code=False))
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise UserError(
            f"the tokenizer {name!r} cannot be read",
            why="it comes with code of its own, and code of a tokenizer is not run here",
            fix="save it as a tokenizer.json (save_pretrained of a fast tokenizer), or use another one",
        ) from error


def _checked(tokenizer: object) -> PreTrainedTokenizerBase:
    assert isinstance(tokenizer, PreTrainedTokenizerBase)  # from_pretrained is not typed
    return tokenizer


def _declared_class(folder: Path) -> str | None:
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return "PreTrainedTokenizerFast"  # tokenizer.json alone says everything but the roles of special tokens
    name = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
    return str(name) if name else None


def _fix(name: str) -> str:
    return f"check the name, or fetch it where there is a network (`hf download {name}`) and give the folder"


def _neighbour(folder: Path) -> str:
    siblings = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, siblings, n=1)
    return f"did you mean {str(folder.parent / near[0])!r}?" if near else "check the path"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
