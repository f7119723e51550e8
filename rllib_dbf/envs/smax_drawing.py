"""Pictures of SMAX battles, drawn with PIL from what the simulator knows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

SIZE = 480
"""Width and height of a picture in pixels."""

MAP_SIZE = 32
"""Width and height of the battlefield in the simulator's units."""

_OVERSAMPLING = 3  # drawn larger and shrunk, because PIL itself draws jagged lines
_SCALE = 14 * _OVERSAMPLING  # pixels per unit of the battlefield
_LEFT, _TOP = 16 * _OVERSAMPLING, 28 * _OVERSAMPLING

_BACKGROUND, _FIELD, _GRID, _WALL = "#11161d", "#1b232d", "#232d39", "#5b6b7d"
_TEXT, _MUTED = "#e8edf3", "#8b99a8"
_ALLY, _ENEMY = "#56b4e9", "#e69f00"  # told apart with any kind of colour vision
_DEADLY_WALL = "#b0413e"

_RADII = (0.6, 0.85, 0.85, 0.85, 0.65, 0.8)  # drawn size per unit type, larger than life
_CORNERS = (0, 4, 4, 3, 3, 6)  # circle, square, diamond, triangle, small triangle, hexagon
_TURNS = (0, 45, 0, 0, 180, 30)  # degrees; 0 puts a corner on top
_LETTERS = "mMsZzh"


class Scene(NamedTuple):
    """One moment of a battle with U units, allies first."""

    positions: Float[ndarray, "U 2"]  # in [0, MAP_SIZE]
    health: Float[ndarray, " U"]  # share of the full health
    alive: Bool[ndarray, " U"]
    types: Int[ndarray, " U"]  # JaxMARL's numbering
    targets: Int[ndarray, " U"]  # whom a unit attacks, -1: nobody
    n_allies: int
    step: int
    outcome: str
    deadly_walls: bool


def draw_battle(scene: Scene) -> UInt8[ndarray, "H W 3"]:
    """The scene as a picture: allies blue, enemies orange, one shape and letter per unit type.

    Bars show health, crosses where units died, lines who attacks whom.
    """
    image = Image.new("RGB", (SIZE * _OVERSAMPLING,) * 2, _BACKGROUND)
    pen = ImageDraw.Draw(image, "RGBA")
    _draw_field(pen, scene)
    for unit in np.flatnonzero(~scene.alive).tolist():
        _draw_grave(pen, scene, unit)
    for unit in np.flatnonzero(scene.alive & (scene.targets >= 0)).tolist():
        _draw_attack(pen, scene, unit)
    for unit in np.flatnonzero(scene.alive).tolist():
        _draw_unit(pen, scene, unit)
    for unit in np.flatnonzero(scene.alive).tolist():
        _draw_health(pen, scene, unit)
    _draw_title(pen, scene)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


def _spot(position: ndarray) -> tuple[float, float]:
    """Pixels of a place on the battlefield, whose y axis points up."""
    x, y = position
    return _LEFT + float(x) * _SCALE, _TOP + (MAP_SIZE - float(y)) * _SCALE


def _colour(scene: Scene, unit: int) -> str:
    return _ALLY if unit < scene.n_allies else _ENEMY


def _draw_field(pen: ImageDraw.ImageDraw, scene: Scene) -> None:
    """The ground, a grid of 4 units, and the border."""
    left, bottom = _spot(np.array([0, 0]))
    right, top = _spot(np.array([MAP_SIZE, MAP_SIZE]))
    border = _DEADLY_WALL if scene.deadly_walls else _WALL
    pen.rectangle((left, top, right, bottom), fill=_FIELD, outline=border, width=2 * _OVERSAMPLING)
    for line in range(4, MAP_SIZE, 4):
        x, y = _spot(np.array([line, line]))
        pen.line((x, top + 6, x, bottom - 6), fill=_GRID, width=_OVERSAMPLING)
        pen.line((left + 6, y, right - 6, y), fill=_GRID, width=_OVERSAMPLING)


def _draw_grave(pen: ImageDraw.ImageDraw, scene: Scene, unit: int) -> None:
    """A faded cross where a unit died."""
    x, y = _spot(scene.positions[unit])
    arm = 0.4 * _SCALE
    for dx in (arm, -arm):
        pen.line(
            (x - dx, y - arm, x + dx, y + arm),
            fill=_colour(scene, unit) + "70",
            width=2 * _OVERSAMPLING,
        )


def _draw_attack(pen: ImageDraw.ImageDraw, scene: Scene, unit: int) -> None:
    """A line from an attacker to its target, with a spark at the end."""
    start, end = _spot(scene.positions[unit]), _spot(scene.positions[scene.targets[unit]])
    pen.line((*start, *end), fill=_colour(scene, unit) + "90", width=int(1.5 * _OVERSAMPLING))
    spark = 0.22 * _SCALE
    pen.ellipse((end[0] - spark, end[1] - spark, end[0] + spark, end[1] + spark), fill="#ffffffb0")


def _draw_unit(pen: ImageDraw.ImageDraw, scene: Scene, unit: int) -> None:
    """The shape of a unit's type with its letter."""
    kind = int(scene.types[unit])
    x, y = _spot(scene.positions[unit])
    radius = _RADII[kind] * _SCALE
    style = {"fill": _colour(scene, unit), "outline": _BACKGROUND, "width": _OVERSAMPLING}
    if _CORNERS[kind]:
        corners = [
            (x + radius * math.sin(angle), y - radius * math.cos(angle))
            for angle in (
                math.radians(_TURNS[kind] + 360 * corner / _CORNERS[kind])
                for corner in range(_CORNERS[kind])
            )
        ]
        pen.polygon(corners, **style)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), **style)
    font = ImageFont.load_default(0.7 * _SCALE)
    pen.text((x, y), _LETTERS[kind], fill=_BACKGROUND, font=font, anchor="mm")


def _draw_health(pen: ImageDraw.ImageDraw, scene: Scene, unit: int) -> None:
    """A bar above a unit, green over yellow to red."""
    share = float(np.clip(scene.health[unit], 0, 1))
    x, y = _spot(scene.positions[unit])
    width, height = 0.65 * _SCALE, 0.13 * _SCALE
    y -= (_RADII[int(scene.types[unit])] + 0.3) * _SCALE
    colour = "#5ac267" if share > 0.6 else "#e8cf4a" if share > 0.3 else "#e0524d"
    pen.rectangle((x - width, y - height, x + width, y + height), fill="#000000c0")
    pen.rectangle((x - width, y - height, x - width + 2 * width * share, y + height), fill=colour)


def _draw_title(pen: ImageDraw.ImageDraw, scene: Scene) -> None:
    """How many live on both sides, the step, and how the battle ended."""
    large, small = (ImageFont.load_default(size * _OVERSAMPLING) for size in (15, 13))
    middle, right = SIZE * _OVERSAMPLING / 2, SIZE * _OVERSAMPLING - _LEFT
    height, n = _TOP / 2, scene.n_allies
    allies = f"allies {scene.alive[:n].sum()}/{n}"
    enemies = f"enemies {scene.alive[n:].sum()}/{len(scene.alive) - n}"
    pen.text((_LEFT, height), allies, fill=_ALLY, font=large, anchor="lm")
    pen.text((right, height), enemies, fill=_ENEMY, font=large, anchor="rm")
    if scene.outcome:
        title = f"{scene.outcome.upper()} at step {scene.step}"
        pen.text((middle, height), title, fill=_TEXT, font=large, anchor="mm")
    else:
        pen.text((middle, height), f"step {scene.step}", fill=_MUTED, font=small, anchor="mm")
