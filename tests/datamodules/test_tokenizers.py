"""The word tokenizer loses nothing, and every tokenizer that cannot be had says why."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lcot.datamodules.tokenizers import END_OF_TEXT, PADDING, build_word_tokenizer, load_tokenizer
from lcot.errors import UserError
from tests.places import SHARED

GPT2 = SHARED / "gpt2_tokenizer"
TEXTS = ["Tom terpus. terpus fompus. Tom: lempus or scrompus?", "terpus.", "### lempus.", "<<3*4=12>>"]
ODD = [
    *"ab1_.,#?:'\n\t\r ▁é漢😀<|>0",
    *("  ", "▁▁", "e\u0301", "\u200b", "\u00a0", "\u2028", "\ufeff", "\x00", "‿", "²", "\ufffd", "\u0085"),
    *("<0x41>", "<0xFF>", END_OF_TEXT, PADDING, "terpus", "Tom", "lempus."),
]


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return build_word_tokenizer(TEXTS)


def tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    found = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom terpus. terpus fompus.\n", ["▁Tom", "▁terpus", ". ", "▁terpus", "▁fompus", ".\n"]),
        ("Tom: lempus or scrompus?\n", ["▁Tom", ": ", "▁lempus", "▁or", "▁scrompus", "?\n"]),
        ("### terpus.", ["### ", "▁terpus", "."]),
        ("<<3*4=12>>", ["<<", "▁3", "*", "▁4", "=", "▁12", ">>"]),
        ("Tom  Tom\n\nTom", ["▁Tom", " ", " ", "▁Tom", "\n", "\n", "▁Tom"]),
        (" Tom", [" ", "▁Tom"]),
        ("é", ["▁", "<0xC3>", "<0xA9>"]),
        ("", []),
        (f"Tom{END_OF_TEXT}{PADDING}", ["▁Tom", END_OF_TEXT, PADDING]),
    ],
)
def test_pieces_by_hand(words: PreTrainedTokenizerFast, text: str, expected: list[str]) -> None:
    assert tokens(words, text) == expected
    assert words.decode(words.encode(text)) == text


def test_any_text_survives(words: PreTrainedTokenizerFast) -> None:
    rng = random.Random(0)
    planes = [range(0x20, 0x7F), range(0xD800), range(0xE000, 0x11000), range(0x1F000, 0x20000)]
    for round_ in range(4000):
        length = rng.randrange(14)
        if round_ % 2:
            text = "".join(rng.choice(ODD) for _ in range(length))
        else:
            text = "".join(chr(rng.choice(rng.choice(planes))) for _ in range(length))
        assert words.decode(words.encode(text)) == text, repr(text)


def test_text_in_pieces_joins_to_the_whole(words: PreTrainedTokenizerFast) -> None:
    pieces = ["Tom terpus. Tom: lempus or scrompus?\n", "terpus.\n", "new word.\n", "### lempus."]
    ids = [token for piece in pieces for token in words.encode(piece)]
    assert ids == words.encode("".join(pieces))
    assert words.decode(ids) == "".join(pieces)


def test_special_tokens_and_the_order_of_the_vocabulary() -> None:
    tokenizer = build_word_tokenizer(iter(TEXTS))
    shuffled = build_word_tokenizer([*reversed(TEXTS), TEXTS[0]])
    assert tokenizer.get_vocab() == shuffled.get_vocab()
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id) == (0, 1, None)
    ordered = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    assert ordered[2] == "<0x00>" and ordered[257] == "<0xFF>"
    assert ordered[258:] == sorted(ordered[258:])
    assert tokenizer.encode("Tom") == tokenizer.encode("Tom", add_special_tokens=False)
    assert tokenizer.decode(tokenizer.encode(f"Tom.{END_OF_TEXT}"), skip_special_tokens=True) == "Tom."


def test_texts_that_name_special_or_byte_tokens_add_no_second_one() -> None:
    tokenizer = build_word_tokenizer([f"Tom {END_OF_TEXT}<0x41> {PADDING}"])
    assert len(tokenizer) == len(set(tokenizer.get_vocab().values()))
    assert tokenizer.decode(tokenizer.encode("<0x41>")) == "<0x41>"


def test_a_tokenizer_needs_some_text() -> None:
    for texts in ([], [""]):
        with pytest.raises(UserError, match="no text to take words from"):
            build_word_tokenizer(texts)


@pytest.mark.parametrize("model_type", [None, "gpt2", "llama", "qwen2"])
def test_save_and_load(words: PreTrainedTokenizerFast, tmp_path: Path, model_type: str | None) -> None:
    words.save_pretrained(tmp_path)
    if model_type:  # a model saved into the same folder must not change how words are split
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded: list[Any] = [load_tokenizer(tmp_path), load_tokenizer(str(tmp_path))]
    if model_type is None:
        loaded.append(AutoTokenizer.from_pretrained(str(tmp_path), local_files_only=True))
    for tokenizer in loaded:
        assert tokenizer.get_vocab() == words.get_vocab()
        assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1)
        for text in (*TEXTS, "unseen  é , .\n", "a , b ."):
            assert tokenizer.encode(text) == words.encode(text)
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tokens_that_a_method_adds_survive(words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer = build_word_tokenizer(TEXTS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|latent|>"]})
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("Tom<|latent|>Tom") == [words.encode("Tom")[0], len(words), words.encode("Tom")[0]]


def test_a_folder_with_only_vocabulary_and_merges(tmp_path: Path) -> None:
    letters = ["<|endoftext|>", "a", "b", "Ġ", "ab", "Ġab"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(letters)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nĠ ab\n")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("ab ab") == [4, 5]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0)  # no padding token: the eos stands in


def test_the_real_gpt2_files() -> None:
    if not GPT2.is_dir():
        pytest.skip("needs GPT-2's vocab.json and merges.txt")
    tokenizer = load_tokenizer(GPT2)
    assert len(tokenizer) == 50257
    assert tokenizer.encode("hello world\n### 5") == [31373, 995, 198, 21017, 642]


def test_folders_without_a_tokenizer_are_told(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match=r"holds no tokenizer\n.*found: config.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match="is a file, not a folder"):
        load_tokenizer(tmp_path / "config.json")
    with pytest.raises(UserError, match="there is no folder") as caught:
        load_tokenizer(tmp_path.parent / (tmp_path.name + "x"))
    assert caught.value.fix == f"did you mean {str(tmp_path)!r}?"
    # transformers makes an empty tokenizer of this without a word.
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    with pytest.raises(UserError, match="has no words"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=r"tokenizer\.json is a Git LFS pointer") as caught:
        load_tokenizer(tmp_path)
    assert caught.value.fix is not None and "git lfs pull" in caught.value.fix


def test_a_tokenizer_with_code_of_its_own_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("raise SystemExit('run')\n")
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own"}))
    with pytest.raises(UserError, match="comes with code of its own"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_end_of_text_is_told(words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    words.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="no end-of-text token"):
        load_tokenizer(tmp_path)


def test_names_that_cannot_be_had_are_told_without_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids a download"):
        load_tokenizer("nobody/no-such-tokenizer")

    def unreachable() -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", unreachable)
    with pytest.raises(UserError, match="the Hub cannot be reached") as caught:
        load_tokenizer("nobody/no-such-tokenizer")
    assert "Name or service not known" in str(caught.value)
    assert "give the folder" in str(caught.value)


def test_a_tokenizer_whose_settings_let_it_read_nothing(words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    words.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": {"a": 1}}))
    with pytest.raises(UserError, match="reads no text"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "./" + "x" * 300, "~nobody-of-this-name/words"])
def test_names_that_no_folder_can_have_are_one_block(name: str) -> None:
    with pytest.raises(UserError, match="no tokenizer can be called") as caught:
        load_tokenizer(name)
    assert len(str(caught.value)) < 800
