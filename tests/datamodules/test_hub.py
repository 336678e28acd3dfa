"""Data sets of the Hub: what a path means, and what is said where one cannot be had. No test asks the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from lcot.datamodules.hub import HubPath, read_hub
from lcot.errors import DataError

RECORDS = [{"question": f"{n} + 1?", "steps": [f"<<{n}+1={n + 1}>>"], "answer": str(n + 1)} for n in range(5)]


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, and a Hub that nobody answers for; the list is of those who asked."""
    asked: list[str] = []

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append(url)
            raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    return asked


def folder(parent: Path) -> Path:
    """A data set on disk, as it lies in a repository of the Hub."""
    made = parent / "sums"
    made.mkdir()
    for split, records in (("train", RECORDS), ("test", RECORDS[:2])):
        (made / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return made


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("hub:openai/gsm8k", ("openai/gsm8k", None, "validation")),
        ("hub:openai/gsm8k:main", ("openai/gsm8k", "main", "validation")),
        ("hub:openai/gsm8k:main:train", ("openai/gsm8k", "main", "train")),
        ("hub:openai/gsm8k::train", ("openai/gsm8k", None, "train")),
        ("hub:openai/gsm8k:main:train[:90%]", ("openai/gsm8k", "main", "train[:90%]")),
        ("hub:./sums", ("./sums", None, "validation")),
    ],
)
def test_what_a_path_means(text: str, path: tuple[str, str | None, str]) -> None:
    parsed = HubPath.parse(text, "validation")
    assert (parsed.name, parsed.config, parsed.split) == path
    assert HubPath.parse(str(parsed), "test") == parsed


def test_a_path_without_a_name() -> None:
    with pytest.raises(DataError, match="'hub::main' names no data set") as caught:
        HubPath.parse("hub::main", "train")
    assert "hub:NAME:CONFIG:SPLIT" in str(caught.value)


def test_a_folder_is_read_as_the_hub_would_be(tmp_path: Path, no_network: list[str]) -> None:
    path = HubPath(str(folder(tmp_path)), None, "train")
    records = list(read_hub(path))
    assert [record.value for record in records] == RECORDS
    assert records[1].where == f"{path}, record 2" and records[1].place == "record 2"
    assert [record.value for record in read_hub(HubPath(path.name, None, "train[1:3]"))] == RECORDS[1:3]
    assert not no_network


def test_what_a_folder_does_not_hold(tmp_path: Path, no_network: list[str]) -> None:
    sums = folder(tmp_path)
    with pytest.raises(DataError, match=r"the folder .* holds no such data") as caught:
        read_hub(HubPath(str(sums), None, "validation"))
    assert "validation" in str(caught.value.why) and caught.value.fix == "check name, configuration and split"
    (sums / "train.jsonl").write_text('{"question": ')
    with pytest.raises(DataError, match="holds no such data") as caught:
        read_hub(HubPath(str(sums), None, "train"))
    assert "JSON" in str(caught.value.why) and "while generating" not in str(caught.value.why)
    for name in (str(tmp_path / "smus"), "./smus", "a/b/c"):
        with pytest.raises(DataError, match=f"there is no folder {name!r}"):
            read_hub(HubPath(name, None, "train"))
    assert not no_network


def test_a_hub_that_cannot_be_reached_is_one_message(no_network: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read_hub(HubPath("owner/sums", "main", "train"))
    block = str(caught.value)
    assert "'owner/sums' is not in the local cache, and the Hugging Face Hub cannot be reached" in block
    assert "hub:owner/sums:main:train" in block and "ConnectionError: no route to host" in block
    assert "hf download --repo-type dataset owner/sums --local-dir FOLDER" in block and "hub:FOLDER" in block
    assert len(block.splitlines()) <= 4 and len(no_network) == 1
    assert datasets.config.HF_HUB_OFFLINE is False


def test_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, no_network: list[str]) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE forbids a download"):
        read_hub(HubPath("owner/sums", None, "train"))
    assert not no_network and datasets.config.HF_HUB_OFFLINE is True


class Hub:
    """Stands in for ``load_dataset``: one data set with the split train, in the cache or behind the network."""

    def __init__(self, cached: bool) -> None:
        self.cached = cached
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, name: str, config: str | None, *, split: str, trust_remote_code: bool) -> Any:
        assert trust_remote_code is False
        self.calls.append((name, config, split, datasets.config.HF_HUB_OFFLINE))
        if datasets.config.HF_HUB_OFFLINE and not self.cached:
            raise ConnectionError("offline")
        if split != "train":
            raise ValueError(f'Unknown split "{split}". Should be one of ["train"].\nAnd more')
        return datasets.Dataset.from_list(RECORDS)


def test_the_cache_comes_first(monkeypatch: pytest.MonkeyPatch, no_network: list[str]) -> None:
    hub = Hub(cached=True)
    monkeypatch.setattr(datasets, "load_dataset", hub)
    assert [record.value for record in read_hub(HubPath("owner/sums", "main", "train"))] == RECORDS
    assert hub.calls == [("owner/sums", "main", "train", True)] and not no_network


def test_what_is_not_cached_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(cached=False)
    monkeypatch.setattr(datasets, "load_dataset", hub)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: type("Session", (), {"head": lambda *_, **__: None})())
    assert len(list(read_hub(HubPath("owner/sums", None, "train")))) == 5
    assert [call[3] for call in hub.calls] == [True, False]
    with pytest.raises(DataError, match="cannot be had from the Hugging Face Hub") as caught:
        read_hub(HubPath("owner/sums", None, "test"))
    assert caught.value.why == 'ValueError: Unknown split "test". Should be one of ["train"].'


def test_a_split_without_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list([]))
    with pytest.raises(DataError, match="the data set holds no record"):
        read_hub(HubPath("owner/sums", None, "train"))


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "~nobody-of-this-name/data", "a\x00b", "a\nb", "\ud800"])
def test_names_that_no_data_set_can_have_are_one_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        read_hub(HubPath.parse(f"hub:{name}", "train"))
    assert len(str(caught.value)) < 2000
    str(caught.value).encode()
