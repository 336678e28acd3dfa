"""Second language models, of a model's own shape, that are trained beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM, PreTrainedModel

from lcot.errors import UserError
from lcot.modules.lora import merged

Start = Literal["random", "copy"]
"""The first weights of a second model: drawn, or those of the first (of its first layers, where it has fewer)."""

_WHERE = "model.objectives, config of the step decoder"
_UNFIT = (StrictDataclassError, ValueError, RuntimeError, TypeError, ArithmeticError, LookupError, AttributeError)


def make_decoder(model: PreTrainedModel, changes: Mapping[str, Any], start: Start) -> PreTrainedModel:
    """A decoder that reads a model's thoughts and its embeddings of texts.

    Args:
        model: Whose thoughts.
        changes: Fields of its configuration that are others here.
        start: Its first weights.

    Raises:
        UserError: If a field is unknown or decides what both must have alike, the numbers do not fit, or weights are to
            be copied that are not the model's.
    """
    fields = model.config.to_dict()
    for name in changes:
        if name not in fields and name not in model.config.attribute_map:
            raise UserError.unknown(f"field of a {model.config.model_type} model", name, fields, where=_WHERE)
    try:
        shape = type(model.config).from_dict({**fields, **changes})
    except _UNFIT as err:
        raise _unfit(err) from err
    for name, what in (("hidden_size", "wide"), ("vocab_size", "tokens large")):
        own, theirs = getattr(shape, name), getattr(model.config, name)
        if own != theirs:
            raise UserError(
                f"the step decoder is {own} {what}, and the language model {theirs}",
                where=_WHERE,
                why="it reads the thoughts, and writes texts in the tokens of the language model",
                fix=f"leave {name} out",
            )
    try:
        made = AutoModelForCausalLM.from_config(shape)  # type: ignore[no-untyped-call]
    except _UNFIT as err:
        raise _unfit(err) from err
    assert isinstance(made, PreTrainedModel)
    if start == "copy":
        _copy(model, made)
    if made.get_output_embeddings().weight is not made.get_input_embeddings().weight:  # type: ignore[no-untyped-call]
        made.get_input_embeddings().requires_grad_(False)  # texts are read by the language model's own
    return made


def check_start(start: str) -> None:
    """Refuse weights to start from that there are not.

    Raises:
        UserError: If they are unknown.
    """
    if start not in get_args(Start):
        raise UserError.unknown("start", str(start), get_args(Start), where="model.objectives")


def _copy(model: PreTrainedModel, decoder: PreTrainedModel) -> None:
    with merged(model):  # a model with LoRA has other names for its weights
        weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    own = decoder.state_dict()
    other = [name for name, weight in own.items() if name not in weights or weights[name].shape != weight.shape]
    if other:
        raise UserError(
            f"start is 'copy', and {len(other)} of the step decoder's weights are not those of the language model",
            where=_WHERE,
            why=f"such as {other[0]}",
            fix="change no more than the number of layers, to fewer, or set start to 'random'",
        )
    decoder.load_state_dict({name: weights[name] for name in own})


def _unfit(error: BaseException) -> UserError:
    return UserError(
        "no step decoder can be made from its config",
        where=_WHERE,
        why=str(error).strip().splitlines()[-1].strip().removeprefix("ValueError: "),
        fix="leave out what it changes",
    )
