"""The charts of TensorBoard's page "Custom scalars": a researcher's questions, each with the curves that answer it."""

from __future__ import annotations

from dataclasses import dataclass

Layout = dict[str, dict[str, list[object]]]
"""Category → chart → kind of chart and the names of its curves, as ``SummaryWriter.add_custom_scalars`` takes it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Which curves a run has.

    Attributes:
        epochs: Those by epoch and by stage.
        accuracies: Names of the accuracies.
        pair_accuracies: Those of pairs of questions; none where questions stand alone.
        stages: Whether there is more than one stage.
        thoughts: Whether there are thoughts that are fed back, so that they have norms.
        watched: Whether they are looked at.
        pairs: Whether their distances are measured.
        graphs: Whether problems have graphs.
    """

    epochs: bool = True
    accuracies: tuple[str, ...] = ("accuracy",)
    pair_accuracies: tuple[str, ...] = ("pair_accuracy",)
    stages: bool = True
    thoughts: bool = True
    watched: bool = True
    pairs: bool = True
    graphs: bool = True


def layout(shown: Shown) -> Layout:
    """The charts of a run, each with a title of its own and the same in all runs: TensorBoard then shows it once.

    Args:
        shown: Which curves there are.
    """
    made: Layout = {}
    by_epoch = [f"by_epoch/val/{name}" for name in shown.accuracies]
    by_epoch_pairs = [f"by_epoch/val/{name}" for name in shown.pair_accuracies]
    if shown.epochs:
        made["Accuracy by stage"] = {
            **(_chart("accuracy at the end of each stage", "by_stage/val/accuracy") if shown.stages else {}),
            **_chart("accuracy by epoch", *by_epoch),
            **(_chart("pair accuracy by epoch", *by_epoch_pairs) if by_epoch_pairs else {}),
            **(_chart("stage by epoch", "by_epoch/curriculum/stage") if shown.stages else {}),
        }
    made["Loss around stage changes"] = {
        **(_chart("loss by steps since the stage began", r"stage_changes/.*") if shown.epochs and shown.stages else {}),
        **_chart("loss and stage by step", "train/loss_step", "curriculum/stage"),
        **(_chart("loss by epoch", "by_epoch/train/loss", "by_epoch/val/loss") if shown.epochs else {}),
    }
    if shown.epochs:
        made["Tokens against accuracy"] = {
            **_chart("written tokens and thoughts by epoch", "by_epoch/val/tokens", "by_epoch/val/thoughts"),
            **_chart("accuracy beside them", *by_epoch),
        }
    made["Health"] = {
        **(_chart("norm of the thoughts", "train/thought_norm_step") if shown.thoughts else {}),
        **(_chart("distance between neighbouring thoughts", "thoughts/distance") if shown.pairs else {}),
        **(_chart("cosine of neighbouring thoughts", "thoughts/cosine") if shown.pairs else {}),
        **(_chart("deviation of thoughts between questions", "thoughts/deviation") if shown.watched else {}),
        **(_chart("length of thoughts, in embeddings", "thoughts/embeddings") if shown.watched else {}),
        **_chart("norm of the gradient", "train/grad_norm"),
    }
    if shown.epochs and shown.graphs:
        made["Reasoning paths"] = _chart("shares by epoch", r"by_epoch/val/path_.*")
    return made


def _chart(title: str, *tags: str) -> dict[str, list[object]]:
    """A chart with some lines; a name is a pattern, which several curves may match."""
    return {title: ["Multiline", list(tags)]}
