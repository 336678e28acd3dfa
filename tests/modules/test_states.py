"""The assistant's states on disk, and the assistant that reads through them."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lcot.errors import UserError
from lcot.modules.assistant import Assistant
from lcot.modules.states import ABOUT, StateStore, default_folder, row_key
from lcot.reasoning.batch import collate
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.soft import states_at_slots
from tests.models import FIRST_WORD, SPECIAL, VOCABULARY, tiny_model

MINE = {"assistant": "abc", "dtype": "float32"}
CPU = torch.device("cpu")


def rows(count: int, thoughts: int = 3, seed: int = 0) -> list[Layout]:
    """Rows of an assistant, of different lengths."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        before = [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(draw.randint(3, 9))]
        ids = before + [SPECIAL.latent] * thoughts
        made.append(Layout(ids, [IGNORE] * len(ids), head=len(before), thoughts=thoughts, prompt=len(ids)))
    return made


def assistant(folder: Path | None = None) -> Assistant:
    """A frozen tiny model with a store."""
    model = tiny_model()
    model.train(False).requires_grad_(False)
    return Assistant(model, StateStore(folder, MINE), SPECIAL.pad, eos=SPECIAL.eos)


def plain(of: Assistant, row: Layout) -> Tensor:
    """The states of one row, computed alone."""
    return states_at_slots(of.model, collate([row], SPECIAL.pad))[0]


class TestStore:
    """Keys, files and folders."""

    @pytest.mark.parametrize("on_disk", [False, True])
    def test_what_is_added_is_had_again_bit_for_bit(self, tmp_path: Path, on_disk: bool) -> None:
        store = StateStore(tmp_path / "states" if on_disk else None, MINE)
        states = {row_key([1, 2]): torch.randn(3, 4).bfloat16(), row_key([1, 2, 3]): torch.randn(2, 4).bfloat16()}
        store.add(states)
        assert len(store) == 2 and row_key([7]) not in store
        for key, value in states.items():
            assert key in store and torch.equal(store.get(key), value)

    def test_another_run_and_another_process_see_it(self, tmp_path: Path) -> None:
        one, two = StateStore(tmp_path, MINE), StateStore(tmp_path, MINE)
        one.add({"k": torch.ones(1, 2)})
        assert "k" not in two
        two.refresh()
        assert "k" in two and "k" in StateStore(tmp_path, MINE)
        assert json.loads((tmp_path / ABOUT).read_text()) == MINE

    def test_nothing_is_written_before_there_is_something(self, tmp_path: Path) -> None:
        store = StateStore(tmp_path / "states", MINE)
        store.add({})
        assert not (tmp_path / "states").exists()

    def test_a_folder_of_another_assistant_is_refused(self, tmp_path: Path) -> None:
        StateStore(tmp_path, MINE).add({"k": torch.ones(1, 2)})
        before = sorted(tmp_path.iterdir())
        with pytest.raises(UserError, match="states of another assistant") as refusal:
            StateStore(tmp_path, {**MINE, "assistant": "other"})
        assert "abc" in str(refusal.value) and "other" in str(refusal.value)
        assert sorted(tmp_path.iterdir()) == before

    def test_a_place_that_holds_something_else_is_refused(self, tmp_path: Path) -> None:
        save_file({"weight": torch.ones(1)}, tmp_path / "model.safetensors")
        (tmp_path / "notes.txt").write_text("mine")
        for place in (tmp_path, tmp_path / "notes.txt"):
            with pytest.raises(UserError, match="holds something else"):
                StateStore(place, MINE)
        (tmp_path / "model.safetensors").unlink()
        StateStore(tmp_path, MINE)

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        StateStore(tmp_path, MINE).add({"k": torch.ones(1, 2)})
        (file,) = tmp_path.glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:20])
        with pytest.raises(UserError, match="is damaged") as refusal:
            StateStore(tmp_path, MINE)
        assert file.name in str(refusal.value)

    def test_a_bit_that_flipped_is_found(self, tmp_path: Path) -> None:
        StateStore(tmp_path, MINE).add({"k": torch.ones(1, 2), "l": torch.ones(2, 2)})
        (file,) = tmp_path.glob("*.safetensors")
        whole = bytearray(file.read_bytes())
        whole[-1] ^= 1  # of the last row
        file.write_bytes(whole)
        store = StateStore(tmp_path, MINE)
        assert torch.equal(store.get("k"), torch.ones(1, 2))
        with pytest.raises(UserError, match="is damaged") as refusal:
            store.get("l")
        assert str(file) in str(refusal.value) and "delete it; its states are computed again" in str(refusal.value)

    def test_others_may_read_what_is_kept(self, tmp_path: Path) -> None:
        StateStore(tmp_path, MINE).add({"k": torch.ones(1, 2)})
        (tmp_path / "plain").touch()
        assert {file.stat().st_mode for file in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}

    def test_of_two_assistants_that_come_at_once_one_has_the_folder(self, tmp_path: Path) -> None:
        first, second = StateStore(tmp_path, MINE), StateStore(tmp_path, {**MINE, "dtype": "bfloat16"})
        first.add({row_key([1]): torch.zeros(2, 4)})
        with pytest.raises(UserError, match="states of another assistant"):
            second.add({row_key([2]): torch.ones(2, 4)})
        assert len(StateStore(tmp_path, MINE)) == 1
        assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".safetensors"]

    @pytest.mark.parametrize("error", [FileExistsError, PermissionError])
    def test_a_folder_that_is_claimed_meanwhile_is_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
    ) -> None:
        def link(source: Path, target: Path) -> None:
            if error is FileExistsError:  # the other process was faster by a moment
                Path(target).write_text(json.dumps({**MINE, "assistant": "def"}))
            raise error

        monkeypatch.setattr("os.link", link)
        store = StateStore(tmp_path, MINE)
        if error is PermissionError:  # a file system without links
            store.add({row_key([1]): torch.zeros(2, 4)})
            assert json.loads((tmp_path / ABOUT).read_text()) == MINE
        else:
            with pytest.raises(UserError, match="states of another assistant"):
                store.add({row_key([1]): torch.zeros(2, 4)})
            assert [file.name for file in tmp_path.iterdir()] == [ABOUT]

    def test_a_write_that_fails_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("lcot.modules.intact.save_file", full)
        with pytest.raises(OSError, match="No space"):
            StateStore(tmp_path, MINE).add({"k": torch.ones(1, 2)})
        assert [file.name for file in tmp_path.iterdir()] == [ABOUT]

    def test_keys_tell_rows_and_paths_apart(self) -> None:
        keys = {row_key([1, 23]), row_key([12, 3]), row_key([1, 2, 3]), row_key([1, 23], 1)}
        assert len(keys) == 4 and row_key([1, 23]) == row_key([1, 23])

    def test_each_assistant_has_a_folder_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_folder("abc") == tmp_path / "lcot" / "states" / "abc"


class TestAssistant:
    """States of rows, computed at most once."""

    def test_states_are_those_of_each_row_alone(self) -> None:
        made = assistant()
        batch = collate(rows(5), SPECIAL.pad)
        for row, own in zip(rows(5), made.states(batch), strict=True):
            assert torch.allclose(own, plain(made, row), atol=1e-5)

    @pytest.mark.parametrize("on_disk", [False, True])
    def test_what_was_prepared_is_never_computed_again(self, tmp_path: Path, on_disk: bool) -> None:
        made = assistant(tmp_path if on_disk else None)
        assert made.prepare(rows(10), 4, CPU) == 10 and made.passes == 3
        before = made.states(collate(rows(10)[3:7], SPECIAL.pad))
        assert made.prepare(rows(10), 4, CPU) == 0 and made.passes == 3
        for row, own in zip(rows(10)[3:7], before, strict=True):
            assert torch.allclose(own, plain(made, row), atol=1e-5)
        if on_disk:  # a later run, with other batches
            later = assistant(tmp_path)
            assert torch.equal(later.states(collate(rows(10)[3:7], SPECIAL.pad)), before) and later.passes == 0

    def test_a_damaged_row_is_found_before_training_and_computed_again(self, tmp_path: Path) -> None:
        made = assistant(tmp_path)
        made.prepare(rows(10), 4, CPU)
        kept = made.states(collate(rows(10), SPECIAL.pad))
        (file,) = tmp_path.glob("*.safetensors")
        whole = bytearray(file.read_bytes())
        whole[-3] ^= 64
        file.write_bytes(whole)
        with pytest.raises(UserError, match="is damaged"):
            assistant(tmp_path).prepare(rows(10), 4, CPU)
        file.unlink()  # as the block says
        again = assistant(tmp_path)
        assert again.prepare(rows(10), 4, CPU) == 10
        assert torch.equal(again.states(collate(rows(10), SPECIAL.pad)), kept)

    def test_a_batch_may_hold_known_and_unknown_rows(self) -> None:
        made = assistant()
        made.prepare(rows(3), 8, CPU)
        states = made.states(collate([*rows(3), *rows(2, seed=5)], SPECIAL.pad))
        for row, own in zip([*rows(3), *rows(2, seed=5)], states, strict=True):
            assert torch.allclose(own, plain(made, row), atol=1e-5)
        assert made.passes == 2

    def test_rows_with_fewer_placeholders_have_zeros_behind_them(self) -> None:
        short, long = rows(1, thoughts=2)[0], rows(1, thoughts=4)[0]
        for known in ([short], [short, long]):
            made = assistant()
            made.prepare(known, 8, CPU)
            states = made.states(collate([short, long], SPECIAL.pad))
            assert states.shape[1] == 4 and not states[0, 2:].any()
            assert torch.allclose(states[0, :2], plain(made, short), atol=1e-5)
            assert torch.allclose(states[1], plain(made, long), atol=1e-5)

    def test_rows_without_placeholders_ask_nobody(self) -> None:
        made = assistant()
        nothing = Layout([SPECIAL.pad], [IGNORE], head=1, thoughts=0, prompt=1)
        made.prepare(rows(2), 8, CPU)
        states = made.states(collate([nothing, *rows(2)], SPECIAL.pad))
        assert made.passes == 1 and not states[0].any()
        for row, own in zip(rows(2), states[1:], strict=True):
            assert torch.allclose(own, plain(made, row), atol=1e-5)

    def test_mixed_precision_around_it_changes_no_bit(self) -> None:
        made, batch = assistant(), collate(rows(3), SPECIAL.pad)
        with torch.autocast("cpu", torch.bfloat16):
            within, texts = made.read(batch), made.write(batch)
        assert torch.equal(within, made.read(batch)) and within.dtype == torch.float32
        assert texts == assistant().write(batch)

    def test_what_it_writes_is_that_of_each_row_alone_and_once(self) -> None:
        made = assistant()
        asked = [*rows(4, thoughts=5), *rows(1, thoughts=2, seed=3)]
        nothing = Layout([SPECIAL.pad], [IGNORE], head=1, thoughts=0, prompt=1)
        texts = made.write(collate([*asked, nothing], SPECIAL.pad))
        for row, text in zip(asked, texts, strict=False):
            prompt = torch.tensor([row.ids[: row.head]])
            expected = made.model.generate(  # type: ignore[operator]
                input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=row.thoughts, do_sample=False
            )
            assert text == [token for token in expected[0, row.head :].tolist() if token != SPECIAL.eos]
        assert texts[5] == [] and made.passes == 1
        assert made.write(collate(asked[1:3], SPECIAL.pad)) == texts[1:3] and made.passes == 1

    def test_texts_do_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lcot.modules.assistant.WRITTEN", 3)
        made = assistant()
        for seed in range(4):
            made.write(collate(rows(2, seed=seed), SPECIAL.pad))
        assert len(made._written) == 2

    def test_processes_share_the_work_by_way_of_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lcot.modules.assistant.CHUNK", 4)
        both = [assistant(tmp_path), assistant(tmp_path)]
        assert [one.prepare(rows(10), 4, CPU, rank, 2) for rank, one in enumerate(both)] == [6, 4]
        for one in both:
            one.store.refresh()
            assert all(row_key(row.ids) in one.store for row in rows(10))
        alone = [assistant(), assistant()]
        assert [one.prepare(rows(10), 4, CPU, rank, 2) for rank, one in enumerate(alone)] == [10, 10]

    def test_a_preparation_that_was_killed_ends_in_the_same_bits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lcot.modules.assistant.CHUNK", 4)
        whole, killed = assistant(tmp_path / "whole"), assistant(tmp_path / "killed")
        whole.prepare(rows(10), 3, CPU)
        killed.prepare(rows(10)[:6], 3, CPU)  # the first chunk, and a part of the second
        for file in sorted((tmp_path / "killed").glob("*.safetensors"))[1:]:
            file.unlink()
        later = assistant(tmp_path / "killed")
        later.prepare(rows(10), 3, CPU)
        for row in rows(10):
            key = row_key(row.ids)
            assert torch.equal(later.store.get(key), whole.store.get(key))


@pytest.mark.parametrize("room", [0, 40])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    store, write = StateStore(tmp_path / "states", {"assistant": "abc"}), Path.write_text

    def fail(self: Path, text: str, **options: str) -> int:
        write(self, text[:room])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patches:
        patches.setattr(Path, "write_text", fail)
        with pytest.raises(OSError, match="No space"):
            store.add({"a": torch.zeros(2, 3)})
    assert not list((tmp_path / "states").iterdir())
    store.add({"a": torch.zeros(2, 3)})
    assert torch.equal(StateStore(tmp_path / "states", {"assistant": "abc"}).get("a"), torch.zeros(2, 3))
