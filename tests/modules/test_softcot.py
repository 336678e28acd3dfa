"""SoftCoT against its definition: one row at a time, thoughts made and put in by hand, on two families of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from lcot.modules import Paths
from lcot.modules.softcot import Thoughts
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.stepwise import Stepwise
from tests.reasoning.test_soft import defined_loss, defined_text
from tests.softcot import (
    MOST,
    THOUGHTS,
    Pair,
    alone,
    batch_of,
    check_definition,
    fit,
    gradients,
    layout_of,
    make_pair,
    pads,
    ready,
    soft,
    states_of,
    texts,
    trained_parameters,
    write_problems,
)

HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
SYSTEM = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both models."""
    return make_pair(tmp_path_factory.mktemp("pair"))


class TestDefinition:
    """What stands at the places of the thoughts."""

    @pytest.mark.parametrize("thoughts", ["projected", "random", "zeros", "placeholders"])
    def test_each_choice(self, pair: Pair, tmp_path: Path, thoughts: Thoughts) -> None:
        module, data = ready(pair, tmp_path, thoughts=thoughts)
        written = check_definition(module, batch_of(data))
        assert len({tuple(text) for text in written}) > 1
        assert bool(trained_parameters(module)) == (thoughts == "projected")
        assert (module.assistant is None) == (thoughts in ("zeros", "placeholders"))

    def test_random_is_where_the_projection_begins(self, pair: Pair, tmp_path: Path) -> None:
        both = [ready(pair, tmp_path, size=0, thoughts=name)[0].projection for name in ("random", "projected")]
        for one, two in zip(both[0].parameters(), both[1].parameters(), strict=True):
            assert torch.equal(one, two) and not one.requires_grad and two.requires_grad

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_activation_checkpointing_changes_nothing(self, pair: Pair, tmp_path: Path, checkpointing: bool) -> None:
        module, data = ready(pair, tmp_path, activation_checkpointing=checkpointing)
        check_definition(module, batch_of(data))

    def test_shuffled_thoughts_are_the_partners(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, data={"shuffled_thoughts": True})
        batch = batch_of(data)
        check_definition(module, batch)
        usual = batch_of(ready(pair, tmp_path)[1])
        own = [layout_of(usual, row) for row in range(len(usual))]
        for row in range(len(batch)):
            shuffled = layout_of(batch, row)
            mine = next(other for other in own if other.ids == shuffled.ids)
            partners = [other for other in own if other.assistant == shuffled.assistant]
            assert len(partners) == 1 and mine not in partners

    def test_the_packaged_prompts(self, pair: Pair, tmp_path: Path) -> None:
        # Prompts of 700 bytes, each a token.
        dialogue = pair.dialogue(prompt="llama3/gsm8k", assistant_prompt="qwen25/gsm8k")
        longer = make_pair(tmp_path / "longer", max_position_embeddings=2048)
        options = {"dialogue": dialogue, "extractors": ["last_number"], "tokenizer": str(longer.llm)}
        module, data = ready(longer, tmp_path, soft(4, 2), data=options)
        for split, count in (("train", 4), ("val", 2)):
            batch = batch_of(data, split).select([0, 1, 2])
            assert batch.max_thoughts == count
            check_definition(module, batch)


class TestWords:
    """Assist-CoT: the assistant's own words in the prompt."""

    def by_hand(self, module: Any, data: Any, batch: ThoughtBatch, row: int) -> tuple[list[int], int]:
        """A row with its text, spelled out, and where the text begins."""
        layout = layout_of(batch, row)
        assert layout.assistant is not None
        asked = torch.tensor([layout.assistant.ids[: layout.assistant.head]])
        plain = {"do_sample": False, "max_new_tokens": THOUGHTS, "pad_token_id": 0}
        written = module.assistant_model.generate(input_ids=asked, attention_mask=torch.ones_like(asked), **plain)
        words = data.assistant_tokenizer.decode(written[0, asked.shape[1] :], skip_special_tokens=True).strip()
        question = batch.examples[row].question
        prompt = f"<|begin_of_text|>{HEADER.format('system')}{SYSTEM}<|eot_id|>{HEADER.format('user')}"
        prompt += f"Q: {question}\nHints: {words}<|eot_id|>{HEADER.format('assistant')}"
        ids = data.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [*ids, *layout.ids[layout.prompt :]], len(ids)

    def test_loss_and_text(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, thoughts="words")
        assert module.projection is None and not trained_parameters(module)
        batch, expected, written = batch_of(data), 0.0, []
        for row in range(len(batch)):
            ids, start = self.by_hand(module, data, batch, row)
            layout = Layout(ids, [IGNORE] * start + ids[start:], head=start, thoughts=0, prompt=start)
            nothing = torch.zeros(0, 32)
            expected += defined_loss(module.model, layout, nothing).item()
            written.append(defined_text(module.model, layout, nothing, MOST, module.special.eos))
        loss, _, extras = module.loss(batch)
        assert loss.item() == pytest.approx(expected, rel=1e-5) and extras == {}
        assert texts(module, batch) == written

    def test_each_question_is_asked_once(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, thoughts="words")
        batch = batch_of(data)
        first = texts(module, batch)
        passes = module.assistant.passes
        assert texts(module, batch) == first and module.assistant.passes == passes

    def test_a_supervised_header_stays_so(self, pair: Pair, tmp_path: Path) -> None:
        options = {"dialogue": pair.dialogue(header="supervised")}
        module, data = ready(pair, tmp_path, thoughts="words", data=options)
        usual, found = batch_of(data), module._with_words(batch_of(data))
        for row in range(len(usual)):
            supervised = [batch.input_ids[row][batch.labels[row] != IGNORE].tolist() for batch in (usual, found)]
            assert supervised[0] == supervised[1] and found.max_thoughts == 0
            assert data.tokenizer.decode(supervised[0]).startswith("<|start_header_id|>assistant")

    def test_no_words_where_there_would_be_no_thoughts(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, soft(0), thoughts="words")
        batch = batch_of(data)
        assert batch.assistant is None and module._with_words(batch) is batch


class TestNothing:
    """Without thoughts this is the language model itself."""

    @pytest.mark.parametrize("options", [{}, {"thoughts": "placeholders"}, {"paths": Paths(3)}])
    def test_plain_model_token_for_token(self, pair: Pair, tmp_path: Path, options: dict[str, Any]) -> None:
        module, data = ready(pair, tmp_path, soft(0), **options)
        batch = batch_of(data)
        assert batch.max_thoughts == 0 and batch.assistant is None
        plain: Any = AutoModelForCausalLM.from_pretrained(pair.llm)
        loss, found, total = module.loss(batch)[0], texts(module, batch), 0.0
        for row in range(len(batch)):
            layout = layout_of(batch, row)
            assert "Hints" not in data.tokenizer.decode(layout.ids)
            asked = torch.tensor([layout.ids[: layout.prompt]])
            settings = {"do_sample": False, "eos_token_id": module.special.eos, "pad_token_id": module.special.pad}
            written = plain.generate(
                input_ids=asked, attention_mask=torch.ones_like(asked), max_new_tokens=MOST, **settings
            )
            assert found[row] == written[0, layout.prompt :].tolist()
            ids, labels = torch.tensor([layout.ids]), torch.tensor([layout.labels])
            supervised = sum(label != IGNORE for label in layout.labels)
            total += plain(input_ids=ids, labels=labels).loss.item() * supervised
        assert loss.item() == pytest.approx(module.thought_paths * total, rel=1e-5)
        votes = module.eval().answers(batch)
        assert [len(run) for run in votes.runs] == [module.thought_paths]

    @pytest.mark.parametrize("options", [{}, {"paths": Paths(2)}])
    def test_stages_without_thoughts_may_come_before_others(
        self, pair: Pair, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        module = pair.module(**options)
        schedule = Stepwise(kind="soft", max_stage=1, epochs_per_stage=1)
        seen = fit(module, pair.data(), tmp_path, schedule, max_epochs=2)
        assert [batch.max_thoughts > 0 for batch in seen.batches] == [False] * 3 + [True] * 3
        # All take part from the first step on: several processes would wait for those that do not.
        first, last = seen.gradients[0], seen.gradients[-1]
        assert first.keys() == last.keys() == trained_parameters(module).keys()
        assert all(not gradient.any() for gradient in first.values())
        assert all(gradient.any() for gradient in last.values())


class TestBatches:
    """Rows know nothing of one another."""

    @pytest.mark.parametrize("paths", [None, Paths(2, dropout=0.0)])
    def test_a_batch_of_sixteen_is_sixteen_of_one(self, pair: Pair, tmp_path: Path, paths: Paths | None) -> None:
        tasks = pair.dialogue(tasks=["sums", "rests"])
        files = {"train_path": str(write_problems(tmp_path / "many.json", 0, 16))}
        module, data = ready(pair, tmp_path, paths=paths, data={"dialogue": tasks, **files})
        batch = batch_of(data, "train")
        assert len(batch) == 16 and batch.tasks is not None and len(set(batch.tasks.tolist())) == 2
        together, _, _ = module.loss(batch)
        wanted, written = gradients(module, together), texts(module, batch)
        total = torch.zeros(())
        for row, one in enumerate(alone(batch, pads(data))):
            total = total + module.loss(one)[0]
            assert texts(module, one) == [written[row]]
        assert total.item() == pytest.approx(together.item(), rel=1e-5)
        for name, gradient in gradients(module, total).items():
            assert wanted[name].norm() > 0 and (gradient - wanted[name]).norm() < 1e-4 * wanted[name].norm(), name

    def test_rows_that_are_replaced_are_exactly_the_placeholders(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path)
        batch, fed = batch_of(data), []
        base: Any = module.model.base_model
        handle = base.register_forward_pre_hook(
            lambda _, __, kwargs: fed.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        module.loss(batch)
        handle.remove()
        inputs = torch.cat(fed, dim=1)
        changed = (inputs != module.model.get_input_embeddings()(batch.input_ids)).any(dim=-1)
        # The placeholder is padding elsewhere.
        places = (batch.input_ids == data.special.latent) & batch.attention_mask
        assert places.sum(dim=1).tolist() == batch.thoughts.tolist() and torch.equal(changed & places, places)
        assert not (changed & ~places).any()
        assert torch.equal(inputs[places].view(len(batch), THOUGHTS, -1), module.soft_thoughts(batch))


class TestPaths:
    """SoftCoT++."""

    def by_hand(self, module: Any, row: Layout, path: int) -> Tensor:
        linear: Any = module.projection.maps[0]
        return F.linear(states_of(module, row, module.placeholders[path]), linear.weight, linear.bias)

    @pytest.mark.parametrize("learned", [True, False])
    def test_loss_and_gradients(self, pair: Pair, tmp_path: Path, learned: bool) -> None:
        module, data = ready(pair, tmp_path, paths=Paths(3, learned, contrast=0.7, scale=4.0, dropout=0.0))
        batch = batch_of(data)
        total, apart, tokens = torch.zeros(()), [], 0
        for number in range(len(batch)):
            row = layout_of(batch, number)
            paths = [self.by_hand(module, row, path) for path in range(3)]
            own = sum(label != IGNORE for label in row.labels)
            total = total + sum(defined_loss(module.model, row, path) for path in paths)
            flat = [path.flatten() / path.norm() for path in paths]
            for k in range(3):
                alike = torch.stack([4.0 * (flat[k] @ other) for other in flat])
                apart.append((alike.logsumexp(0) - alike[k]) / 3)
                total = total + 0.7 * own * apart[-1]
            tokens += own
        loss, count, extras = module.loss(batch)
        assert loss.item() == pytest.approx(total.item(), rel=1e-5) and count == tokens
        assert extras["contrast"].item() == pytest.approx(torch.stack(apart).sum().item() / len(batch), rel=1e-4)
        wanted = gradients(module, total)
        assert ("placeholders" in wanted) == learned
        for name, gradient in gradients(module, loss).items():
            assert wanted[name].norm() > 0 and (gradient - wanted[name]).norm() < 1e-4 * wanted[name].norm(), name

    def test_rows_with_fewer_thoughts_count_what_they_count_alone(self, pair: Pair, tmp_path: Path) -> None:
        paths = Paths(3, contrast=5.0, scale=0.5, dropout=0.0)
        module, data = ready(pair, tmp_path, Stepwise(kind="soft", max_stage=3), paths=paths)
        build, numbers = data.builder(), [3, 1, 0, 2, 3]
        source = data.make_source("train")
        examples = [source.example(place, 0) for place in range(len(numbers))]
        rows = [
            build.train(pieces, Stage(0, count)) for pieces, count in zip(build.encode(examples), numbers, strict=True)
        ]
        batch = collate(rows, pads(data)[0], None, examples, assistant_pad=pads(data)[1])
        whole, each = module.loss(batch), [module.loss(one) for one in alone(batch, pads(data))]
        assert whole[0].item() == pytest.approx(sum(loss.item() for loss, _, _ in each), rel=1e-5)
        apart = [extras["contrast"].item() for _, _, extras in each if extras]
        assert len(apart) == 4 and min(apart) > 0.3
        assert whole[2]["contrast"].item() == pytest.approx(sum(apart) / 4, rel=1e-4)

    @pytest.mark.parametrize("learned", [True, False])
    def test_what_training_changes(self, pair: Pair, tmp_path: Path, learned: bool) -> None:
        start, _ = ready(pair, tmp_path, paths=Paths(2, learned), thoughts="random")
        module = pair.module(paths=Paths(2, learned))
        fit(module, pair.data(), tmp_path)
        assert torch.equal(module.placeholders, start.placeholders) != learned
        assert not torch.equal(module.projection.maps[0].weight, start.projection.maps[0].weight)
        # As different from one another as words are.
        words = start.assistant_model.get_input_embeddings().weight
        assert float(start.placeholders.std()) == pytest.approx(float(words.std()), rel=0.3)

    def test_validation_drops_nothing_at_random(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, paths=Paths(2, dropout=0.9))
        batch = batch_of(data)
        drawn = {module.loss(batch)[0].item() for _ in range(4)}
        assert len(drawn) > 1 and len({module.eval().loss(batch)[0].item() for _ in range(4)}) == 1

    def test_one_answer_a_path_and_the_majority(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, paths=Paths(3))
        module.eval()
        batch = batch_of(data)
        votes = module.answers(batch)
        (run,) = votes.runs
        assert len(run) == 3
        with torch.no_grad():
            for path, answers in enumerate(run):
                rows = [layout_of(batch, row) for row in range(len(batch))]
                made = [self.by_hand(module, row, path) for row in rows]
                by_hand = [
                    defined_text(module.model, *each, MOST, module.special.eos) for each in zip(rows, made, strict=True)
                ]
                assert answers.tokens == by_hand
        records = module.records(batch, votes)
        assert all(len(entry["samples"][0]["outputs"]) == 3 for entry in records)
        assert texts(module, batch) == run[0].tokens  # validation takes the first
