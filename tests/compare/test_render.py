"""Tables as text: exact for Markdown and CSV, within the width for a terminal."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from lcot.compare.render import NOTHING, to_csv, to_markdown, to_terminal
from lcot.compare.table import Comparison, compare
from lcot.runs.run import read_run
from tests.compare.folders import COT, write_run


@pytest.fixture
def comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Two methods of two and one seeds, one of them without a record of its cost, and a run without a result."""
    monkeypatch.chdir(tmp_path)
    runs = Path("runs")
    write_run(runs, "coconut-0", 0, report={"metrics.test/accuracy": 0.95, "metrics.test/accuracy_number": 0.96})
    write_run(runs, "coconut-1", 1, report={"metrics.test/accuracy": 0.99}, cost={"wall_seconds": 240.0})
    text = {"metrics.test/accuracy": 0.8, "metrics.test/tokens": 12.25, "metrics.test/thoughts": 0}
    cost = {"wall_seconds": 7300, "trainable_parameters": 4096, "parameters": 1_240_000_000, "examples": None}
    write_run(runs, "no_cot-0", 0, config=COT, report={**text, "device": None}, cost=cost)
    (write_run(runs, "pause-0", 0) / "test.json").unlink()
    return compare([read_run(path) for path in sorted(runs.iterdir())])


MARKDOWN = r"""
| method | n | accuracy, % | accuracy number, % | tokens | thoughts | tokens + thoughts | ms a question (batch) | optimizer steps | training examples | wall | CPU | parameters |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
| coconut | 2 | 97.0 ± 2.8 | 96.0 | 2.0 | 4.0 | 6.0 | 0.50 (250) | 800 | 51,200 | 3.0 min | 1.8 min | 62.0k |
| no\_cot | 1 | 80.0 | – | 12.2 | 0.0 | 12.2 | 0.50 (250) | 800 | – | 2.0 h | 1.8 min | 1.24B (4.10k trained) |

- not the same seeds: coconut 0, 1; no\_cot 0
- accuracy: mean over seeds ± sample standard deviation; extractor "string: text after the last ###, commas removed, exact match"; decoding greedy; checkpoint best
- tokens: "generated tokens without eos; thoughts apart", mean of an answer; tokens + thoughts: the # tokens of the Coconut paper (which leaves out markers, and pauses)
- time of a question: wall time of thinking and writing over the questions of a batch; on a processor: coconut-0, coconut-1; an unrecorded device: no\_cot-0
- data: split test, 1,000 examples; another seed is another test set, data hash by seed 0: 000000000000, 1: 111111111111
- methods: coconut = Coconut with Stepwise, continuous thoughts; no\_cot = Coconut with Fixed, none hidden, no thoughts
- training cost: mean over seeds; wall time from the first batch to the last, validation included; on a processor, 1 thread
- commit aaaaaaa

- not paired, since no record of single questions was kept when they were evaluated: coconut-0, no\_cot-0; it is made by lcot test -c RUN/config.yaml

- pause-0 has no test result: `lcot test -c runs/pause-0/config.yaml`
"""  # noqa: E501, RUF001

CSV = """
table,method,description,n,seeds,accuracy_mean,accuracy_std,accuracy_number_mean,accuracy_number_std,tokens_mean,\
tokens_std,thoughts_mean,thoughts_std,flops_mean,flops_std,answered_mean,answered_std,tokens_and_thoughts_mean,tokens_and_thoughts_std,\
seconds_per_question_mean,seconds_per_question_std,optimizer_steps,tested_steps,training_examples,wall_seconds,cpu_seconds,peak_memory_bytes,parameters,\
trainable_parameters,finished,ended_by,outdated,training_device,batch_size,device,split,examples,\
data_hashes,extractor,tokens_defined,decoding,voting,accuracy_std_over_runs,checkpoint,commands,commits,\
training_commits,runs
1,coconut,"Coconut with Stepwise, continuous thoughts",2,0;1,0.97,0.02828427125,0.96,,2,0,4,0,,,,,6,0,0.0005,0,800,\
800,51200,180,110,1024,62000,62000,True,,no,"a processor, 1 thread",250,a processor,test,1000,\
00000000000000000000000000000000;11111111111111111111111111111111,\
"string: text after the last ###, commas removed, exact match",generated tokens without eos; thoughts apart,greedy,\
one answer to a question,,best,lcot test -c run.yaml,\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,\
runs/coconut-0;runs/coconut-1
1,no_cot,"Coconut with Fixed, none hidden, no thoughts",1,0,0.8,,,,12.25,,0,,,,,,12.25,,0.0005,,800,800,,7300,110,1024,\
1240000000,4096,True,,no,"a processor, 1 thread",250,,test,1000,00000000000000000000000000000000,\
"string: text after the last ###, commas removed, exact match",generated tokens without eos; thoughts apart,greedy,\
one answer to a question,,best,lcot test -c run.yaml,\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,\
runs/no_cot-0
"""


def test_markdown(comparison: Comparison) -> None:
    assert to_markdown(comparison) == MARKDOWN.removeprefix("\n")


def test_csv(comparison: Comparison) -> None:
    assert to_csv(comparison) == CSV.removeprefix("\n")


def test_operations(tmp_path: Path) -> None:
    """A column where any run has counted them, in units of thousands; not a number of parameters, and so G."""
    for name, config, flops in (("coconut-0", {}, 12_610_000.0), ("cot-0", COT, 2.5e9)):
        write_run(tmp_path, name, config=config, report={"metrics.test/flops": flops})
    write_run(tmp_path, "old-0", config={"trainer.max_epochs": 8})
    made = compare([read_run(path) for path in sorted(tmp_path.iterdir())])
    rows = [line.split(" | ") for line in to_markdown(made).splitlines() if line.startswith("| ")]
    place = rows[0].index("FLOPs")
    assert [row[place] for row in rows[1:4]] == ["12.6M", "2.50G", NOTHING]
    assert "- FLOPs: operations of a question alone, " in to_markdown(made)
    assert [row["flops_mean"] for row in csv.DictReader(io.StringIO(to_csv(made)))] == ["12610000", "2500000000", ""]


def test_two_tables(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    write_run(tmp_path, "cot-0", 0, config=COT, report={"format": 2, "metrics.test/accuracy_number": 0.5})
    both = compare([read_run(path) for path in sorted(tmp_path.iterdir())])
    text = to_markdown(both)
    assert text.startswith("**Table 1**\n\n| method ")
    assert "\n**Table 2**: not comparable with table 1: code format: 2, not 1\n\n| method " in text
    rows = list(csv.DictReader(io.StringIO(to_csv(both))))
    assert [(row["table"], row["method"], row["accuracy_number_mean"]) for row in rows] == [
        ("1", "coconut", ""),
        ("2", "cot", "0.5"),
    ]


def test_nothing_to_show(comparison: Comparison) -> None:
    nothing = Comparison((), comparison.missing)
    assert to_markdown(nothing) == "- pause-0 has no test result: `lcot test -c runs/pause-0/config.yaml`\n"
    assert to_csv(nothing) == "table,method\n"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_terminal_shows_every_number_within_its_width(comparison: Comparison, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    to_terminal(comparison, console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    (first, second) = [line.split() for line in lines if line.split()[:1] == ["coconut"]]
    assert first == ["coconut", "2", "97.0", "±", "2.8", "96.0", "2.0", "4.0", "6.0", "0.50", "(250)"]
    assert second == ["coconut", "800", "51,200", "3.0", "min", "1.8", "min", "62.0k"]
    assert lines[-1] == "pause-0 has no test result: lcot test -c runs/pause-0/config.yaml"


def test_long_names_are_broken_between_words(tmp_path: Path) -> None:
    for epochs in (4, 8):
        write_run(tmp_path / str(epochs), "pause_as_thought-0", 0, config={"trainer.max_epochs": epochs})
    both = compare([read_run(tmp_path / str(epochs) / "pause_as_thought-0") for epochs in (4, 8)])
    console = Console(file=io.StringIO(), width=80)
    to_terminal(both, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert " pause_as_thought " in shown and " (max_epochs=8) " in shown and "0.50 (250)" in shown


def test_words_that_rich_or_markdown_would_read_as_marks(tmp_path: Path) -> None:
    write_run(tmp_path, "a[b]|c_d-0", 0)
    strange = compare([read_run(tmp_path / "a[b]|c_d-0")])
    console = Console(file=io.StringIO(), width=100)
    to_terminal(strange, console)
    assert isinstance(console.file, io.StringIO)
    assert "a[b]|c_d " in console.file.getvalue()
    assert "| a[b]\\|c\\_d | 1 |" in to_markdown(strange)


def test_a_deviation_over_runs_is_marked(tmp_path: Path) -> None:
    runs = {"metrics.test/accuracy_std": 0.0123, "protocol.decoding": {"votes": 4, "runs": 5}}
    write_run(tmp_path, "coconut-0", 0, report={**runs, "metrics.test/answered": 0.875})
    cot = {**runs, "metrics.test/accuracy": 0.7}
    write_run(tmp_path, "cot-0", 0, config=COT, report=cot)
    write_run(tmp_path, "cot-1", 1, config=COT, report={**cot, "metrics.test/accuracy": 0.9})
    made = compare([read_run(path) for path in sorted(tmp_path.iterdir())])
    text = to_markdown(made)
    assert "| coconut | 1 | 90.0 ± 1.2† |" in text and "| cot | 2 | 80.0 ± 14.1 |" in text
    assert "| 2.00 (250) |" in text, "four votes of half a millisecond"
    first, second = csv.DictReader(io.StringIO(to_csv(made)))
    assert first["voting"] == "majority of 4 votes, mean over 5 runs"
    assert (first["accuracy_std"], first["accuracy_std_over_runs"], first["answered_mean"]) == ("", "0.0123", "0.875")
    assert second["accuracy_std"].startswith("0.1414") and second["accuracy_std_over_runs"] == "0.0123"
