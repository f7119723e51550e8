"""Work that a GPU has done before, done again in one call: CUDA graphs, one per shape of batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch

from rllib_dbf.device_rows import RowsBatch
from rllib_dbf.team import TrainBatch


class Aside:
    """What is computed within, a GPU computes beside what came since `begin`.

    Args:
        device: Where; on any but a CUDA device one thing is done after the other.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._entered: Any = None
        self._begun: Any = None

    def begin(self) -> None:
        """What came until now comes before what is computed within."""
        if self._stream is not None:
            self._begun = torch.cuda.current_stream(self._stream.device).record_event()

    def __enter__(self) -> None:
        if self._stream is not None:
            self._stream.wait_event(self._begun)
            self._entered = torch.cuda.stream(self._stream)
            self._entered.__enter__()

    def __exit__(self, *raised: Any) -> None:
        if self._entered is not None:
            self._entered.__exit__(*raised)
            self._entered = None

    def join(self) -> None:
        """Let what comes now wait for what was begun within."""
        if self._stream is not None:
            torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)


Work = Callable[[Any, Any], None]


class Recorder:
    """Does work on batches, recorded when a shape comes for the second time, repeated afterwards.

    An update starts hundreds of small kernels, and starting one from Python takes longer than it
    runs; a repeated recording starts them all at once. The work must not wait for the device, and
    what it reads and writes beside the batch must stay where it is in memory: call `forget` when
    it has moved. The device has to be the current one.

    Args:
        work: What to do with a batch on the device; the second argument, a variant, is constant
            within a recording.
        generators: Of the device, from which the work draws.
        device: A CUDA device.
    """

    def __init__(
        self, work: Work, generators: Iterable[torch.Generator], device: torch.device
    ) -> None:
        self._work, self._generators, self._device = work, list(generators), device
        # One of its own: PyTorch's lies on the GPU that was the current one when it was made.
        self._stream = torch.cuda.Stream(device)
        self.forget()

    def forget(self) -> None:
        """Drop all recordings."""
        self._recorded: dict[Hashable, tuple[Any, torch.cuda.CUDAGraph | None]] = {}
        self._pool: Any = None  # of memory: one does for all, since they run one after another

    def __call__(self, batch: TrainBatch | RowsBatch, variant: Hashable) -> None:
        """Do the work on a batch from the processor's memory.

        Args:
            batch: Padded to one of few lengths.
            variant: Passed to the work; each has a recording of its own.

        Raises:
            RuntimeError: If the work cannot be recorded.
        """
        key = batch.shape, variant
        if key not in self._recorded:  # the first time things are built that stay: workspaces, …
            there = batch.to(self._device)
            self._work(there, variant)
            self._recorded[key] = there, None
            return
        there, graph = self._recorded[key]
        batch.overwrite(there)
        if graph is None:
            graph = self._record(there, variant)
            self._recorded[key] = there, graph
        graph.replay()

    def _record(self, batch: TrainBatch | RowsBatch, variant: Hashable) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        try:
            # Other threads, which collect episodes, may use page-locked memory meanwhile.
            how = {"stream": self._stream, "capture_error_mode": "thread_local"}
            with torch.cuda.graph(graph, pool=self._pool, **how):
                self._work(batch, variant)
        except RuntimeError as error:
            raise RuntimeError(
                "an update could not be recorded as a CUDA graph. A part of your own that asks the "
                "device for numbers (.item(), .cpu(), float(x), x[mask]) is the usual reason: use "
                "torch.where and masks instead, or set record_updates=False. Start anew: this "
                "process cannot use the GPU any more."
            ) from error
        self._pool = graph.pool()
        return graph
