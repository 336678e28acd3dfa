"""Assist-CoT: what an assistant writes stands as words in the prompt, where soft thoughts would (arXiv 2502.12134)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.dialogue import DialogueBuilder
from lcot.reasoning.layout import IGNORE, Layout


def with_words(batch: ThoughtBatch, words: Sequence[str], builder: DialogueBuilder, pad: int) -> ThoughtBatch:
    """Rows with words in the place of their soft thoughts.

    Args:
        batch: B rows with their examples; those without thoughts stay as they are.
        words: One text a row.
        builder: Lays the rows out.
        pad: Token id for padding.

    Returns:
        B rows without thoughts; the text behind their prompts, and what is supervised of it, is the same as before.

    Raises:
        DataError: If a row is longer than the builder's limit.
    """
    ids, labels, mask = (tensor.cpu() for tensor in (batch.input_ids, batch.labels, batch.attention_mask))
    counts, ends = batch.thoughts.tolist(), batch.prompt_ends.tolist()
    rows = []
    for row, (pieces, example) in enumerate(zip(builder.encode(list(batch.examples)), batch.examples, strict=True)):
        own_ids, own_labels = (part[row][mask[row]].tolist() for part in (ids, labels))
        end = int(mask[row, : ends[row]].sum())
        # The header of the answering turn may be supervised: it ends the prompt, and stays what it is.
        header = sum(label != IGNORE for label in own_labels[:end])
        if counts[row]:
            prompt = builder.hinted(pieces, words[row], counts[row])
            start = prompt.prompt - header
            made = replace(
                prompt,
                ids=prompt.ids + own_ids[end:],
                labels=prompt.labels[:start] + prompt.ids[start:] + own_labels[end:],
            )
        else:
            made = Layout(own_ids, own_labels, head=end - header, thoughts=0, prompt=end)
        builder.check_row(made, example)
        rows.append(made)
    return collate(rows, pad, batch.index.tolist(), batch.examples).to(batch.input_ids.device)
