"""What a user sees beside the progress bar: our own messages, and not those that say nothing."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from lcot.cli.outside import outside_error
from lcot.errors import IgnoredSettingWarning

_log = logging.getLogger("lcot")
_usually, _of_threads = warnings.showwarning, threading.excepthook


def quiet_the_console() -> None:
    """Show our own messages, and drop what Lightning says on every start whatever the user does."""
    _log.setLevel(logging.INFO)
    if not any(isinstance(handler, _Console) for handler in _log.handlers):
        _log.addHandler(_Console())
    dropped = (
        "litlogger",
        "Detected KeyboardInterrupt",
        "`weights_only` was not set",
        "TPU available: False",
        "stopped: `max_epochs=",
        "Running in `fast_dev_run` mode",
    )
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: not any(text in record.getMessage() for text in dropped))
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        for handler in [one for one in logger.handlers if type(one) is logging.StreamHandler]:
            # It keeps the stderr of the time when it was made, and would write into a bar that is being drawn.
            ours = _Console()
            ours.setFormatter(handler.formatter)
            logger.removeHandler(handler)
            logger.addHandler(ours)
    for message in (
        ".*LeafSpec.*is deprecated",
        ".*does not have many workers",
        ".*smaller than the logging interval",
        ".*exists and is not empty",  # a run's folder is, when it is continued
        ".*custom batch sampler .* for prediction",  # ours returns every row
        ".*It is recommended to use `self.log.*sync_dist=True",  # what is logged is reduced already
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.showwarning = _show_warning
    threading.excepthook = _tell_of_thread


def _show_warning(message: Any, category: type[Warning], *place: Any, **further: Any) -> None:
    """One line, without the place in our code, for what the user set; everything else as usual."""
    if issubclass(category, IgnoredSettingWarning):
        _log.warning("lcot: warning: %s", message)
    else:
        _usually(message, category, *place, **further)


def _tell_of_thread(args: threading.ExceptHookArgs) -> None:
    """Nothing of a full disk, which the main thread meets too: TensorBoard's writer hands its exception on."""
    if args.exc_value is None or outside_error(args.exc_value, None) is None:
        _of_threads(args)


class _Console(logging.StreamHandler[Any]):
    """Writes to what ``sys.stderr`` is at that moment; of several processes, only one tells how things go."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(rank_zero_only, "rank", 0) != 0 and record.levelno < logging.WARNING:
            return
        self.stream = sys.stderr
        super().emit(record)
