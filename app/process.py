"""What a process asks of its operating system and of its interpreter."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

_PR_SET_PDEATHSIG = 1
_BESIDE = ThreadPoolExecutor(1, "beside_events")

P = ParamSpec("P")
T = TypeVar("T")


async def beside_events(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Long work of a processor in a thread, one after another: events do not wait for it.

    More threads would only take turns with the event loop; and those that unpack request bodies are
    others.
    """
    return await asyncio.get_running_loop().run_in_executor(
        _BESIDE, partial(work, *arguments, **named)
    )


def die_with_parent(with_signal: signal.Signals = signal.SIGTERM) -> None:
    """Have this process signalled when its parent dies, even by kill -9. Linux only.

    Without it the workers of a killed service would hold its port for ever (measured). The signal
    comes when the *thread* that started this process ends, so start it from a lasting one.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, with_signal)
    if os.getppid() != parent:
        os._exit(1)


def tune_garbage_collection() -> None:
    """Collect less often and never look at what start-up made: a tenth of a worker's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
