"""Stands for SMAClite: registers its maps with gymnasium."""

import gymnasium

for _name in ("2s3z", "MMM"):
    gymnasium.register(
        f"smaclite/{_name}-v0", "smaclite.env:SMACliteEnv", kwargs={"map_info": _name}
    )
