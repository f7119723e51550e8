"""In a child of the doctor: starts or joins Ray, and asks every node what it has installed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from rllib_dbf.cli.checkups.child import begin
from rllib_dbf.cli.checkups.finding import Finding, brief, in_gigabytes
from rllib_dbf.cli.checkups.node_report import differences, look_function
from rllib_dbf.cli.running import nobody_at, quieten, start_ray


def main() -> None:
    """Tell findings as they are made, or the `error` that Ray raised."""
    content, tell = begin()
    try:
        silent = nobody_at(content["address"])
        if silent:
            tell(error=silent)
            return
        finding = start()
    except BaseException as error:  # Ray leaves with SystemExit, too
        tell(error=brief(error))
        return
    tell(finding=finding._asdict())
    try:
        # From now: a slow start here says nothing about the nodes.
        end = time.monotonic() + content["seconds"] - 5.0
        ask_nodes(lambda finding: tell(finding=finding._asdict()), end)
    finally:
        import ray

        ray.shutdown()


def start() -> Finding:
    """Start or join Ray as `rllib train` does."""
    quieten(0)
    begun = time.monotonic()
    start_ray(0)
    import ray

    took = time.monotonic() - begun
    private: Any = ray._private
    node = private.worker._global_node  # None in Ray's client; nothing public tells
    if node is not None and node.is_head():
        how = "started here"
    else:
        how = f"joined {_address()}"
    there = ray.cluster_resources()
    detail = (
        f"ray {ray.__version__} {how} in {took:.0f} s: {there.get('CPU', 0):g} cores, "
        f"{there.get('GPU', 0):g} GPUs, {in_gigabytes(there.get('object_store_memory', 0))} for "
        f"objects, {sum(node['Alive'] for node in ray.nodes())} nodes"
    )
    if not there.get("CPU"):
        return Finding("ray cluster", "broken", detail, "add a node with cores to it")
    return Finding("ray cluster", "ok", detail)


def _address() -> str:
    import ray

    try:
        return os.environ.get("RAY_ADDRESS") or ray.get_runtime_context().gcs_address
    except Exception:  # Ray's client has no such address
        return "a cluster"


def ask_nodes(note: Callable[[Finding], None], end: float) -> None:
    """Run a task on every live node, and note what is wrong with each as it answers."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = look_function()
    remote = ray.remote(num_cpus=0, max_retries=0)(look)
    waiting: dict[Any, dict] = {}
    for node in ray.nodes():
        if node["Alive"]:
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            waiting[remote.options(scheduling_strategy=pinned).remote()] = node
    here = look(load=False)
    while waiting:
        ready, _ = ray.wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
        if not ready:
            break
        node = waiting.pop(ready[0])
        try:
            note(judge(node, ray.get(ready[0]), here))
        except Exception as error:  # whatever Ray says became of the task
            detail = f"a task there failed: {brief(error)}"
            note(Finding(title(node), "broken", detail, "install the same versions there as here"))
    for node in waiting.values():
        note(Finding(title(node), "broken", "a task there did not end in time", "ray status"))


def title(node: dict) -> str:
    """A name for a node that no other has."""
    return f"node {node['NodeManagerHostname']} {node['NodeID'][:6]}"


def judge(node: dict, seen: dict[str, Any], here: dict[str, Any]) -> Finding:
    """What a node's answer means, beside this machine's."""
    gpus = node["Resources"].get("GPU", 0)
    versions = [f"{name} {seen[name]}" for name in ("python", "ray", "torch", "rllib-dbf")]
    cores = node["Resources"].get("CPU", 0)
    detail = f"{node['NodeManagerAddress']}: {', '.join(versions)}; {cores:g} cores, {gpus:g} GPUs"
    if "error" in seen:
        detail = f"rllib_dbf cannot be imported there: {seen['error']}; {detail}"
        how = "install rllib-dbf there, as here"
        return Finding(title(node), "broken", detail, how)
    other = differences(seen, here)
    if other:
        detail = f"{detail}; differs from this machine: {', '.join(other)}"
        return Finding(title(node), "broken", detail, "install the same versions there as here")
    if gpus and not seen["cuda"]:
        detail = f"{detail}, which its torch cannot use (built without CUDA)"
        return Finding(title(node), "warning", detail, "install a torch with CUDA there")
    return Finding(title(node), "ok", detail)


if __name__ == "__main__":
    main()
