"""Marker tokens, and the rows that they get in a pretrained model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lcot.errors import UserError
from lcot.reasoning.tokens import (
    BOT,
    EOT,
    LATENT,
    PAUSE,
    SpecialTokens,
    add_thought_tokens,
    ends_of_text,
    grow_vocabulary,
)
from tests.models import tiny_model, word_tokenizer

WORDS = ["<unk>", "<s>", "</s>", "<pad>", "<<", "one", "two", "three"]


def tables(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Copies of the input embedding and of the output head."""
    return (
        model.get_input_embeddings().weight.detach().clone(),  # type: ignore[operator]
        model.get_output_embeddings().weight.detach().clone(),  # type: ignore[no-untyped-call]
    )


class TestAdd:
    """What a tokenizer gets."""

    def test_four_tokens_behind_the_vocabulary(self) -> None:
        tokenizer = word_tokenizer(WORDS)
        special = add_thought_tokens(tokenizer)
        assert special == SpecialTokens(bot=8, eot=9, latent=10, pause=11, eos=2, pad=3, added=(8, 9, 10, 11))
        assert tokenizer.convert_tokens_to_ids([BOT, EOT, LATENT, PAUSE]) == [8, 9, 10, 11]
        assert len(tokenizer) == 12

    def test_markers_are_one_token_in_a_text_and_left_out_on_demand(self) -> None:
        tokenizer = word_tokenizer(WORDS)
        special = add_thought_tokens(tokenizer)
        ids = tokenizer.encode(f"one{BOT}{LATENT}{EOT}two {PAUSE}")
        assert ids == [5, special.bot, special.latent, special.eot, 6, special.pause]
        assert tokenizer.decode([special.bot, 5, special.eot, special.pause], skip_special_tokens=True) == "one"

    def test_twice_changes_nothing(self) -> None:
        tokenizer = word_tokenizer(WORDS)
        add_thought_tokens(tokenizer)
        again = add_thought_tokens(tokenizer)
        assert again == SpecialTokens(bot=8, eot=9, latent=10, pause=11, eos=2, pad=3, added=())
        assert len(tokenizer) == 12

    def test_tokens_that_it_has_keep_their_ids(self) -> None:
        tokenizer = word_tokenizer([*WORDS, EOT, "four", BOT])
        special = add_thought_tokens(tokenizer)
        assert (special.eot, special.bot, special.latent, special.pause) == (8, 10, 11, 12)
        assert special.added == (11, 12)

    def test_after_saving_and_loading(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        tokenizer, folder = word_tokenizer(WORDS), tmp_path_factory.mktemp("tokenizer")
        special = add_thought_tokens(tokenizer)
        tokenizer.save_pretrained(folder)
        loaded = add_thought_tokens(PreTrainedTokenizerFast.from_pretrained(folder))
        assert loaded == SpecialTokens(special.bot, special.eot, special.latent, special.pause, 2, 3, added=())

    @pytest.mark.parametrize(("missing", "role"), [("eos_token", "end-of-sequence"), ("pad_token", "padding")])
    def test_a_role_is_missing(self, missing: str, role: str) -> None:
        tokenizer = word_tokenizer(WORDS)
        setattr(tokenizer, missing, None)
        with pytest.raises(UserError, match=f"has no {role} token") as caught:
            add_thought_tokens(tokenizer)
        assert "data.tokenizer" in str(caught.value)
        assert len(tokenizer) == len(WORDS)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
class TestGrow:
    """What a model gets."""

    def test_copy(self, architecture: str, tied: bool) -> None:
        model, embedding, head, new = self.grown(architecture, tied, "copy:<<")
        assert new == [8, 9, 10, 11]
        for before, after in ((embedding, tables(model)[0]), (head, tables(model)[1])):
            assert torch.equal(after, torch.cat([before, before[[4] * 4]]))
        self.assert_usable(model, tied)

    def test_mean(self, architecture: str, tied: bool) -> None:
        model, embedding, head, new = self.grown(architecture, tied, "mean")
        assert new == [8, 9, 10, 11]
        for before, after in ((embedding, tables(model)[0]), (head, tables(model)[1])):
            assert torch.equal(after[:8], before)
            assert torch.allclose(after[8:], before.mean(dim=0).expand(4, -1), atol=1e-6)
        self.assert_usable(model, tied)

    def test_random(self, architecture: str, tied: bool) -> None:
        model, embedding, head, new = self.grown(architecture, tied, "random")
        assert new == [8, 9, 10, 11]
        for before, after in ((embedding, tables(model)[0]), (head, tables(model)[1])):
            assert torch.equal(after[:8], before)
            assert len({tuple(row) for row in after[8:].tolist()}) == 4
            assert 0.1 < after[8:].std() < 0.3  # the configuration's initializer_range is 0.2
        self.assert_usable(model, tied)

    @staticmethod
    def grown(architecture: str, tied: bool, policy: str) -> tuple[PreTrainedModel, Tensor, Tensor, list[int]]:
        """A model that knows eight tokens, its tables before, and the rows that it got."""
        tokenizer, model = (
            word_tokenizer(WORDS),
            tiny_model(architecture, vocab_size=len(WORDS), tie_word_embeddings=tied),
        )
        embedding, head = tables(model)
        assert torch.equal(embedding, head) == tied
        special = add_thought_tokens(tokenizer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return model, embedding, head, grow_vocabulary(model, tokenizer, special.added, policy)

    @staticmethod
    def assert_usable(model: PreTrainedModel, tied: bool) -> None:
        """Tables are still tied or untied, have gradients, and the model knows twelve tokens."""
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[no-untyped-call]
        assert (embedding.weight is head.weight) == tied
        assert embedding.weight.requires_grad and head.weight.requires_grad
        assert model.config.vocab_size == 12
        assert model(torch.tensor([[8, 9, 10, 11]])).logits.shape == (1, 4, 12)


class TestPaddedTables:
    """Tables that are longer than their tokenizer, as Qwen's are: the new tokens find a row that means nothing yet."""

    def test_no_row_is_added_and_those_in_use_are_set(self) -> None:
        tokenizer, model = word_tokenizer(WORDS), tiny_model(vocab_size=16)
        before = tables(model)
        special = add_thought_tokens(tokenizer)
        assert grow_vocabulary(model, tokenizer, special.added, "copy:<<") == [8, 9, 10, 11]
        for old, new in zip(before, tables(model), strict=True):
            assert torch.equal(new, torch.cat([old[:8], old[[4] * 4], old[12:]]))

    def test_mean_is_over_the_rows_of_known_tokens(self) -> None:
        tokenizer, model = word_tokenizer(WORDS), tiny_model(vocab_size=16)
        before = tables(model)
        grow_vocabulary(model, tokenizer, add_thought_tokens(tokenizer).added, "mean")
        for old, new in zip(before, tables(model), strict=True):
            assert torch.allclose(new[8:12], old[:8].mean(dim=0).expand(4, -1), atol=1e-6)
            assert torch.equal(new[12:], old[12:])

    def test_random_leaves_them(self) -> None:
        tokenizer, model = word_tokenizer(WORDS), tiny_model(vocab_size=16)
        before = tables(model)
        assert grow_vocabulary(model, tokenizer, add_thought_tokens(tokenizer).added, "random") == [8, 9, 10, 11]
        assert all(torch.equal(old, new) for old, new in zip(before, tables(model), strict=True))

    def test_a_table_that_has_room_for_some(self) -> None:
        tokenizer, model = word_tokenizer(WORDS), tiny_model(vocab_size=10)
        before = tables(model)
        assert grow_vocabulary(model, tokenizer, add_thought_tokens(tokenizer).added, "copy:two") == [8, 9, 10, 11]
        for old, new in zip(before, tables(model), strict=True):
            assert torch.equal(new, torch.cat([old[:8], old[[6] * 4]]))


def test_nothing_to_do_for_a_model_that_has_the_tokens() -> None:
    tokenizer = word_tokenizer(WORDS)
    add_thought_tokens(tokenizer)
    model = tiny_model(vocab_size=12)
    before = tables(model)
    assert grow_vocabulary(model, tokenizer, add_thought_tokens(tokenizer).added, "copy:<<") == []
    assert all(torch.equal(old, new) for old, new in zip(before, tables(model), strict=True))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("zeros", ["unknown policy 'zeros'", "'mean', 'random', or 'copy:'"]),
        ("copy", ["unknown policy 'copy'"]),
        ("copy:one two", ["'one two' is 2 tokens", "copy:one two", "use 'mean'"]),
        ("copy:", ["'' is 0 tokens"]),
        ("copy:four", ["'four' is unknown to this tokenizer", "use 'mean'"]),
    ],
)
def test_bad_policies(policy: str, words: list[str]) -> None:
    tokenizer, model = word_tokenizer(WORDS), tiny_model(vocab_size=len(WORDS))
    before = tables(model)
    special = add_thought_tokens(tokenizer)
    with pytest.raises(UserError) as caught:
        grow_vocabulary(model, tokenizer, special.added, policy)
    for part in words:
        assert part in str(caught.value)
    assert all(torch.equal(old, new) for old, new in zip(before, tables(model), strict=True))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, 2),
        (2, 2),
        (1, [2, 1]),
        ([3, 1, 2], [2, 1, 3]),
        ([5, 6, 63], 2),  # ordinary words, and an id that the tokenizer has not
    ],
)
def test_a_pretrained_models_further_ends_are_those_that_are_special(
    named: int | list[int] | None, expected: int | list[int]
) -> None:
    tokenizer, model = word_tokenizer(WORDS), tiny_model()
    assert model.generation_config is not None
    model.generation_config.eos_token_id = named
    assert ends_of_text(model, tokenizer, 2) == expected
