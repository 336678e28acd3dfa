"""Each mistake gets one short block with its place and a way out, exit code 2, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.tiny import RECORD, contents, lcot, write_config, write_records


@dataclass(frozen=True)
class Mistake:
    """One wrong command.

    Attributes:
        name: The test's name.
        says: What the block must hold, in this order.
        args: Added to ``fit -c tiny.yaml``.
        changes: To the config file.
        prepare: Makes files in the test's folder, which is where the command runs.
    """

    name: str
    says: tuple[str, ...]
    args: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda folder: None


def check(folder: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the mistake, and look at what is said and what is left."""
    monkeypatch.chdir(folder)
    write_config(folder, mistake.changes)
    mistake.prepare(folder)
    before = contents(folder)
    outcome = lcot("fit", "-c", "tiny.yaml", *mistake.args)
    assert outcome.code == 2
    block = outcome.block
    place = 0
    for words in mistake.says:
        assert words in block[place:], block
        place = block.index(words, place)
    assert len(block.splitlines()) <= 5 and "Traceback" not in outcome.err
    assert contents(folder) == before


def text(content: str, file: str = "tiny.yaml") -> Callable[[Path], object]:
    """Write a file as it stands."""
    return lambda folder: (folder / file).write_text(content, encoding="utf-8")


WORDS = [
    Mistake("no threads", ("threads is 0", "--threads", "use 1 or more"), ("--threads=0",)),
    Mistake("unknown option", ("trainer has no setting 'max_epoks'", "--trainer.max_epoks=3", "'max_epochs'"),
            ("--trainer.max_epoks=3",)),
    Mistake("abbreviated option", ("trainer has no setting 'max_epoch'", "did you mean 'max_epochs'"),
            ("--trainer.max_epoch=3",)),
    Mistake("option without its section", ("there is no setting 'batch_size'", "did you mean --data.batch_size?"),
            ("--batch_size=3",)),
    Mistake("unknown setting of a class", ("curriculum.schedule has no setting 'max_stages'", "mean 'max_stage'"),
            ("--curriculum.schedule.max_stages=3",)),
    Mistake("unknown setting of a dataclass", ("model.backbone has no setting 'pth'", "attention, config", "'path'"),
            ("--model.backbone.pth=gpt2",)),
    Mistake("unknown section", ("there is no setting 'modle'", "did you mean 'model'"), ("--modle.max_new_tokens=3",)),
    Mistake("value of a wrong type", ("data.batch_size: 'three' is not a whole number", "--data.batch_size=three"),
            ("--data.batch_size=three",)),
    Mistake("float where a whole number is needed", ("'1000.0' is not a whole number", "write 1000"),
            ("--data.batch_size=1e3",)),
    Mistake("null where a value is needed", ("data.batch_size is null", "--data.batch_size=null", "leave it out"),
            ("--data.batch_size=null",)),
    Mistake("too few values", ("data.nodes: '[6]' is not a list of 2",), ("--data.nodes=[6]",)),
    Mistake("unknown choice", ("'float33' is not one of float32, bfloat16", "did you mean 'float32'"),
            ("--model.backbone.dtype=float33",)),
    Mistake("unknown method", ("unknown class 'Coconutt'", "--model=Coconutt", "did you mean 'Coconut'?"),
            ("--model=Coconutt",)),
    Mistake("unknown logger", ("unknown class 'WandLogger'", "known: CSVLogger, ", "did you mean 'WandbLogger'?"),
            ("--trainer.logger=WandLogger",)),
    Mistake("a class of something else", ("torch.nn.Linear is no ReasoningModule", "Coconut", "SoftCoT", "by its path"),
            ("--model=torch.nn.Linear",)),
    Mistake("a schedule that wants a metric", ("ReduceLROnPlateau cannot be used here", "use WarmupStableDecay"),
            ("--model.lr_scheduler=ReduceLROnPlateau",)),
    Mistake("no seed", ("seed_everything is null", "a run needs a seed", "give a number"), ("--seed_everything=null",)),
    Mistake("unknown setting in a group", ("model.backbone.lora has no setting 'r'",
            "where: --model.backbone.lora={r: 0}", "did you mean 'rank'?"), ("--model.backbone.lora={r: 0}",)),
    Mistake("LoRA of rank 0", ("rank 0", "--model.backbone.lora={rank: 0}", "rank is 1 or more"),
            ("--model.backbone.lora={rank: 0}",)),
    Mistake("no name", ("the run's name is '.'", "--name"), ("--name=.",)),
    Mistake("empty name", ("the run's name is ''", "--name"), ("--name=",)),
    Mistake("name that cannot be printed", ("the run's name is 'a\\nb'", "cannot be printed"), ("--name=a\nb",)),
    Mistake("name too long", ("--name has 300 letters", "200 bytes"), (f"--name={'a' * 300}",)),
    Mistake("folder too long", ("--runs_dir has 5,000 letters", "shorter"), (f"--runs_dir={'a' * 5000}",)),
    Mistake("a type that is no text", ("unknown model_type",),
            ("--model.backbone.config.model_type={class_path: math.sqrt}",)),
    Mistake("a class of no name", ("model: '' names no class", "Coconut"), ("--model=",)),
    Mistake("no validation", ("check_val_every_n_epoch is 0", "use 1 or more"),
            ("--trainer.check_val_every_n_epoch=0",)),
    Mistake("no interval", ("val_check_interval is 0", "above 0"), ("--trainer.val_check_interval=0",)),
    Mistake("an interval that no epoch has", ("the trainer cannot be used", "--trainer.val_check_interval=9999"),
            ("--trainer.val_check_interval=9999",)),
    Mistake("a name for a group", ("model.teacher is 'runs/cot'", "attention, dtype, path, revision",
            "--model.teacher.path=…"), ("--model.teacher=runs/cot",)),
    Mistake("a teacher of no path", ("the teacher has no path", "--model.teacher.path=", "null"),
            ("--model.teacher.path=", "--model.objectives={d: {class_path: Distillation}}")),
    Mistake("null for a path", ("model.teacher.path is null", "--model.teacher.path=null"),
            ("--model.teacher.path=null", "--model.objectives={d: {class_path: Distillation}}")),
    Mistake("unknown curriculum", ("unknown class 'Stepwize'", "Fixed, Spanwise, Stepwise", "did you mean 'Stepwise'?"),
            ("--curriculum.schedule=Stepwize",)),
    Mistake("unknown optimizer", ("unknown class 'AdamWW'", "did you mean 'AdamW'"), ("--model.optimizer=AdamWW",)),
    Mistake("unknown setting of an optimizer", ("model.optimizer has no setting 'learning'", "lr, maximize"),
            ("--model.optimizer=AdamW", "--model.optimizer.learning=1")),
    Mistake("missing option value", ("--resume has no value", "write --resume=true"), ("--resume",)),
    Mistake("stray word", ("'true' is no option", "--data.batch_size=32"), ("--resume=true", "true")),
    Mistake("second config is missing", ("there is no config 'tinny.yaml'", "did you mean 'tiny.yaml'?"),
            ("-c", "tinny.yaml")),
    Mistake("config is a folder", ("the config '.' is a folder", "tiny.yaml"), ("-c", ".")),
    Mistake("config without -c", ("'tiny.yaml' is no option", "write -c tiny.yaml"), ("tiny.yaml",)),
    Mistake("seed of a wrong type", ("seed_everything: 'a' is not", "a whole number", "--seed_everything=a"),
            ("--seed_everything=a",)),
    Mistake("number or null of a wrong type", ("eval_thoughts: 'a' is not a whole number or null",
            "--curriculum.eval_thoughts=a"), ("--curriculum.eval_thoughts=a",)),
    Mistake("help of an unknown class", ("unknown class 'Coconutt'", "--model.help=Coconutt", "mean 'Coconut'?"),
            ("--model.help=Coconutt",)),
    Mistake("null in a nested group", ("cannot be set to null in this form", "--model.backbone='{config: null"),
            ("--model.backbone.config=null",)),
    Mistake("null for a nested group", ("cannot be set to null in this form", "--model.backbone='{lora: null"),
            ("--model.backbone.lora=null",)),
]  # fmt: skip

FILES = [
    Mistake("unknown key in a file", ("model has no setting 'latents'", "tiny.yaml, line 1"),
            changes={"model.init_args.latents": 3}),
    Mistake("unknown section in a file", ("there is no setting 'modle'", "tiny.yaml, line 42", "'model'"),
            changes={"modle": {"class_path": "Coconut"}}),
    Mistake("wrong type in a file", ("epochs_per_stage: 'five' is not a whole number or a list", "tiny.yaml, line 3"),
            changes={"curriculum.schedule.init_args.epochs_per_stage": "five"}),
    Mistake("group given as a value", ("model.backbone is 'gpt2'", "tiny.yaml, line 4", "--model.backbone.path"),
            changes={"model.init_args.backbone": "gpt2"}),
    Mistake("no data", ("data is not set", "-c prosqa"), changes={"data": ...}),
    Mistake("no class", ("model has settings, but no class", "tiny.yaml, line 1", "add its class_path"),
            changes={"model.class_path": ...}),
    Mistake("broken YAML", ("is not valid YAML", "tiny.yaml, line 2, column 5", "brackets"),
            prepare=text("model: {class_path: [Coconut\ndata: 3\n")),
    Mistake("tab in YAML", ("is not valid YAML", "line 2", "tabs"), prepare=text("model:\n\tclass_path: Coconut\n")),
    Mistake("empty file", ("the config 'tiny.yaml' is empty",), prepare=text("# nothing yet\n")),
    Mistake("list instead of settings", ("holds no settings", "line 1", "a list"), prepare=text("- model\n")),
    Mistake("not text", ("cannot be read", "not UTF-8"), prepare=lambda f: (f / "tiny.yaml").write_bytes(b"a: \xff")),
    Mistake("key twice", ("'seed_everything' is set twice", "tiny.yaml, lines 1 and 3", "silently"),
            prepare=text("seed_everything: 1\nname: x\nseed_everything: 2\n")),
]  # fmt: skip

VALUES = [
    Mistake("negative number of thoughts", ("thoughts is -1", "--curriculum.schedule.thoughts=-1", "use 0 or more"),
            ("--curriculum.schedule=Fixed", "--curriculum.schedule.thoughts=-1", "--curriculum.schedule.kind=pause")),
    Mistake("thoughts of no kind", ("the kind of thought is 'none'", "no effect"),
            ("--curriculum.schedule.kind=none",)),
    Mistake("epochs that never reach a stage", ("training ends after 1 epochs, and stage 1 would start at epoch 1",
            "trainer.max_epochs (--trainer.max_epochs=1)", "lower max_stage"), ("--trainer.max_epochs=1",)),
    Mistake("list of epochs that does not fit", ("names 2 stages, and max_stage is 4", "5 or 6 numbers"),
            ("--curriculum.schedule.max_stage=4",)),
    Mistake("batch of nothing", ("batch_size is 0", "--data.batch_size=0", "use 1 or more"),
            ("--data.batch_size=0",)),
    Mistake("graph that cannot be", ("hops starts at 9, but nodes ends at 7", "hops (--data.hops=[9, 9])"),
            ("--data.hops=[9, 9]",)),
    Mistake("two backbones", ("both of model.backbone.path and model.backbone.config", "(--model.backbone.path=gpt2)",
            "pretrained or made from scratch"), ("--model.backbone.path=gpt2",)),
    Mistake("unknown field of the backbone", ("unknown field of a llama model 'hidden_sizes'", "'hidden_size'"),
            ("--model.backbone.config.hidden_sizes=8",)),
    Mistake("heads that do not divide", ("no llama model can be made", "model.backbone.config"),
            ("--model.backbone.config.num_attention_heads=3",)),
    Mistake("classifier without thoughts", ("model.halting is set", "set model.halting to null"),
            ("--model.halting.weight=1", "--curriculum.schedule.kind=pause")),
    Mistake("classifier out of range", ("threshold 2.0", "--model.halting.threshold=2"),
            ("--model.halting.threshold=2",)),
    Mistake("negative learning rate", ("the optimizer cannot be made", "Invalid learning rate: -1.0"),
            ("--model.optimizer=AdamW", "--model.optimizer.lr=-1")),
    Mistake("negative learning rate beside a file", ("the optimizer cannot be made", "(--model.optimizer.lr=-1)"),
            ("--model.optimizer.lr=-1",),
            {"model.init_args.optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}}}),
    Mistake("more processes than cores", ("devices is 999", "--trainer.devices=999", "on a CPU", "core"),
            ("--trainer.devices=999",)),
    Mistake("warm-up longer than the run", ("the warm-up takes 99 steps, and the run has 4", "train longer",
            "--model.lr_scheduler=null"),
            ("--model.lr_scheduler=WarmupStableDecay", "--model.lr_scheduler.warmup_steps=99")),
    Mistake("steps instead of epochs", ("max_steps is 3", "curriculum counts epochs", "trainer.max_epochs"),
            ("--trainer.max_steps=3",)),
    Mistake("seed out of range", ("the seed is -1", "--seed_everything=-1", "not in bounds"),
            ("--seed_everything=-1",)),
    Mistake("nothing to train on", ("limit_train_batches is 0", "use a number above 0"),
            ("--trainer.limit_train_batches=0",)),
    Mistake("no mark before the answer", ("before_answer is ' '", "data.text.before_answer", "such as '### '"),
            ("--data.text.before_answer= ",)),
    Mistake("class without what it needs", ("step_size is not set", "no default"), ("--model.lr_scheduler=StepLR",)),
    Mistake("no epochs", ("max_epochs is 0", "--trainer.max_epochs=0"), ("--trainer.max_epochs=0",)),
    Mistake("setting without effect", ("default_root_dir is x", "use --runs_dir"), ("--trainer.default_root_dir=x",)),
    Mistake("unknown accelerator", ("the trainer cannot be used", "--trainer.accelerator=gppu", "Available names"),
            ("--trainer.accelerator=gppu",)),
    Mistake("no devices", ("the trainer cannot be used", "--trainer.devices=0", "devices"), ("--trainer.devices=0",)),
    Mistake("unknown strategy", ("unknown strategy 'dpp'", "--trainer.strategy=dpp", "did you mean 'ddp'?"),
            ("--trainer.strategy=dpp",)),
    Mistake("metric that nobody logs", ("unknown metric 'val/acuracy'", "--best_checkpoint.monitor", "'val/accuracy'"),
            ("--best_checkpoint.monitor=val/acuracy",)),
    Mistake("metric without its group", ("unknown metric 'acc'", "--best_checkpoint.monitor=acc", "val/accuracy"),
            ("--best_checkpoint.monitor=acc",)),
    Mistake("worst kept as the best", ("mode is 'max'", "--best_checkpoint.mode=max", "'min'"),
            ("--best_checkpoint.monitor=val/loss", "--best_checkpoint.mode=max")),
    Mistake("name that leaves the folder", ("the run's name is '../x'", "--runs_dir"), ("--name=../x",)),
]  # fmt: skip

PROSE = {"data.init_args.style": "prose", "data.init_args.train_path": "train.json"}


def records(*changes: dict[str, Any]) -> Callable[[Path], object]:
    """A data file of good records with some fields replaced; ``...`` removes one."""
    made = [{key: value for key, value in {**RECORD, **change}.items() if value is not ...} for change in changes]
    return lambda folder: write_records(folder / "train.json", *made)


def tokenizer_of(**special: str) -> Callable[[Path], object]:
    """A tokenizer of three words in ``words``; without an ``eos_token`` it cannot say where a text ends."""

    def prepare(folder: Path) -> None:
        made = Tokenizer(models.WordLevel({"Tom": 0, "cat": 1, "?": 2}, unk_token="?"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **special)  # type: ignore[no-untyped-call]
        tokenizer.save_pretrained(folder / "words")

    return prepare


DATA = [
    Mistake("no data file", ("there is no such file", "train.json (data.train_path, tiny.yaml, line 2"), changes=PROSE),
    Mistake("broken JSON", ("not valid JSON", "train.json, line 1, column 15"), changes=PROSE,
            prepare=text('[{"question": }]', "train.json")),
    Mistake("JSON that was cut off", ("not valid JSON", "ends too early"), changes=PROSE,
            prepare=text('[{"question": "Who', "train.json")),
    Mistake("empty data file", ("the file is empty", "train.json"), changes=PROSE, prepare=text("", "train.json")),
    Mistake("missing field", ('field "answer" is missing', "record 2"), changes=PROSE,
            prepare=records({}, {"answer": ...})),
    Mistake("blank field", ('field "question" is blank', "record 1"), changes=PROSE,
            prepare=records({"question": " "})),
    Mistake("field of a wrong type", ('field "answer" is', "record 1", "must be a string"), changes=PROSE,
            prepare=records({"answer": 3})),
    Mistake("no steps", ('field "steps" is an empty list', "record 1"), changes=PROSE, prepare=records({"steps": []})),
    Mistake("duplicate ids", ("the id 'a' is used twice", "record 2"), changes=PROSE,
            prepare=records({"id": "a"}, {"id": "a"})),
    Mistake("record without a graph", ("has no field 'idx_to_symbol'", "train.json", "style 'prose'"),
            changes={**PROSE, "data.init_args.style": "compact"}, prepare=records({})),
    Mistake("question longer than the context", ("and the model has 128", "data.max_length"), changes=PROSE,
            prepare=records({"question": "Tom is a cat. " * 60})),
    Mistake("question longer than the limit", ("and the limit is 10", "data.too_long"), ("--data.max_length=10",)),
    Mistake("no room for an answer", ("with 400 new tokens takes", "lower model.max_new_tokens"),
            ("--model.max_new_tokens=400",)),
    Mistake("tokenizer without an end", ("has no end-of-text token", "eos_token"), ("--data.tokenizer=./words",),
            prepare=tokenizer_of()),
    Mistake("a run to begin with is not there", ("there is no run 'runs/other' to begin with", "tiny.yaml, line",
            "train it first: the comment at the head of tiny.yaml"),
            changes={"data.init_args.tokenizer": "runs/other/tokenizer"}),
    Mistake("no such tokenizer", ("there is no folder './gpt2'",), ("--data.tokenizer=./gpt2",)),
    Mistake("pretrained model with the words of the data", ("would read words that were numbered by the data",
            "tiny.yaml, line 5", "set data.tokenizer to 'nothing'"), ("--data.tokenizer=words",),
            changes={"model.init_args.backbone": {"path": "nothing"}}),
    Mistake("folder of a model that is not there", ("there is no folder './nothing'", "tiny.yaml, line 5"),
            changes={"model.init_args.backbone": {"path": "./nothing"}}),
    Mistake("sizes that do not fit", ("the model's sizes do not fit each other", "model.backbone.config",
            "a pass over 3 tokens ends with"), ("--model.backbone.config.num_key_value_heads=4",)),
    Mistake("more nodes than names", ("symbols is 12, and nodes ends at 60", "lower nodes to at most"),
            ("--data.nodes=[5,60]",)),
    Mistake("no such backbone", ("could not be loaded", "model.backbone.path"), ("--data.tokenizer=./words",),
            changes={"model.init_args.backbone": {"path": "./nothing"}}, prepare=tokenizer_of(eos_token="cat")),
]  # fmt: skip


@pytest.mark.parametrize("mistake", [*WORDS, *FILES, *VALUES, *DATA], ids=lambda mistake: mistake.name)
def test_a_mistake_is_one_block_and_leaves_no_trace(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(tmp_path, mistake, monkeypatch)
