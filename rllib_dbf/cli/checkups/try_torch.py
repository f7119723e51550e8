"""In a child of the doctor: what Torch is, and whether it computes on the GPUs it finds."""

from __future__ import annotations

from rllib_dbf.cli.checkups.child import begin
from rllib_dbf.cli.checkups.finding import brief


def main() -> None:
    """Tell it as `seen`."""
    _, tell = begin()
    try:
        import torch
    except Exception as error:  # whatever a broken installation raises
        tell(error=brief(error))
        return
    seen: dict = {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": {}}
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(i)
        name = about.name if about.name not in seen["gpus"] else f"{about.name} {i}"
        seen["gpus"][name] = about.total_memory
        try:
            ones = torch.ones(64, 64, device=f"cuda:{i}")
            assert float((ones @ ones).sum().cpu()) == 64**3
        except Exception as error:  # no kernels for it, no memory, a lost device
            seen["failed"] = brief(error)
    tell(seen=seen)


if __name__ == "__main__":
    main()
