"""How JAX is set up for simulators: on the processor, in one thread, keeping what it compiles."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """The folder for compiled simulators on this kind of processor.

    It is `$RLLIB_DBF_CACHE/jax`, or `$XDG_CACHE_HOME/rllib_dbf/jax`, or `~/.cache/rllib_dbf/jax`,
    and in it one folder per processor type: compiled code of one may crash another, and home
    folders are often shared between machines.
    """
    own = os.environ.get("RLLIB_DBF_CACHE")
    if own:
        root = Path(own)
    else:
        shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(shared) / "rllib_dbf"
    return root / "jax" / _processor()


def use_persistent_cache(jax: Any) -> None:
    """Let JAX keep every compiled function on disk, unless the user chose a cache of their own."""
    if jax.config.jax_compilation_cache_dir is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def use_processor(jax: Any) -> None:
    """Keep JAX off GPUs, unless the user set `JAX_PLATFORMS` (empty: as JAX chooses).

    A JAX with CUDA would take three quarters of a GPU's memory in every process that has a
    simulator, away from the learner, and launch a step of a few microseconds there.
    """
    if "JAX_PLATFORMS" not in os.environ:
        jax.config.update("jax_platforms", "cpu")  # no effect where JAX has started


def use_one_thread(jax: Any) -> None:
    """Let JAX compute on the processor in the calling thread, if it has not started yet.

    The arrays of a simulator step are so small that handing them to other threads takes longer
    than computing them, and the cores are needed by learners and other simulators.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    given = os.environ.get("NPROC")  # read by XLA when it makes its threads
    os.environ["NPROC"] = given or "1"
    try:
        jax.devices()
    finally:
        if given is None:
            del os.environ["NPROC"]


def _processor() -> str:
    """A short name for the instruction set of this processor."""
    features = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(errors="replace").splitlines()
        features = next(
            (line for line in lines if line.startswith(("flags", "Features"))), features
        )
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"
