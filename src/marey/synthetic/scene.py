"""The scene of a clip: background, light, camera, and the clothes of the actor.

World axes are X to the right, Y up and Z away from the camera, in metres, with the camera at X = Z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from marey.synthetic.body import Array, Body

Colour = tuple[float, float, float]
Garment = Literal["plain", "coat", "skirt", "wide", "shorts"]
Image = npt.NDArray[np.float32]

WIDTH, HEIGHT = 160, 120
MARGIN = 22
"""Pixels of background around the frame, for a camera that shakes and zooms."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at a height over the ground, looking level; lengths in pixels of the 160x120 frame."""

    focal: float
    horizon: float
    height: float
    """Metres over the ground."""

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return pixels `(T, 2)` and pixels per metre `(T,)` of world points `(T, 3)`."""
        scale = self.focal / points[:, 2]
        x = WIDTH / 2 + points[:, 0] * scale
        y = self.horizon + (self.height - points[:, 1]) * scale
        return np.stack([x, y], axis=1), scale


@dataclass(frozen=True, slots=True)
class Light:
    """The light on figure and ground."""

    side: float
    """Direction: -1 from the left, 1 from the right."""
    slope: float
    """Brightness lost from the lit edge of the frame to the other."""
    contrast: float
    shadow: tuple[float, float]
    """Offset of the shadow of a point at a height of one metre: metres to the right, metres away."""
    darkness: float
    flicker: float
    noise: float

    def across(self, x: Array) -> Array:
        """Return the brightness at pixel columns of the 160x120 frame."""
        return 1.0 + self.side * self.slope * (x / WIDTH - 0.5)


@dataclass(frozen=True, slots=True)
class Clothes:
    """The clothes of an actor; colours are RGB, 0 to 255."""

    garment: Garment
    top: Colour
    trousers: Colour
    shoes: Colour
    skin: Colour
    hair: Colour
    long_sleeves: bool
    backpack: Colour | None
    hat: Colour | None

    @classmethod
    def random(cls, rng: np.random.Generator, *, disguise: bool) -> Clothes:
        """Return ordinary clothes, or with `disguise` clothes that hide the outline of the body."""
        garment: Garment = "shorts" if rng.random() < 0.15 else "plain"
        backpack = hat = None
        if disguise:
            garments: tuple[Garment, ...] = ("coat", "skirt", "wide", "plain")
            garment = garments[rng.choice(4, p=(0.35, 0.2, 0.25, 0.2))]
            if garment in ("plain", "wide") or rng.random() < 0.25:
                backpack = _pick(rng, ACCENTS)
            hat = _pick(rng, ACCENTS) if rng.random() < 0.4 else None
        return cls(
            garment=garment,
            top=_pick(rng, TOPS),
            trousers=_pick(rng, TROUSERS),
            shoes=_pick(rng, SHOES),
            skin=_pick(rng, SKINS),
            hair=_pick(rng, HAIR),
            long_sleeves=bool(garment == "coat" or rng.random() < 0.7),
            backpack=backpack,
            hat=hat,
        )


TOPS: tuple[Colour, ...] = (
    (52, 54, 60), (38, 48, 72), (112, 44, 40), (70, 84, 64), (226, 222, 212), (196, 178, 140),
    (60, 92, 110), (120, 96, 120), (214, 196, 96), (40, 40, 42), (172, 92, 60), (88, 62, 52),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (30, 32, 38), (44, 52, 74), (58, 50, 44), (64, 66, 70), (36, 42, 36), (86, 76, 60),
)  # fmt: skip
SHOES: tuple[Colour, ...] = ((26, 24, 24), (58, 44, 34), (214, 212, 206), (44, 46, 52))
SKINS: tuple[Colour, ...] = (
    (232, 196, 168), (214, 170, 138), (188, 142, 108), (146, 104, 76), (104, 72, 54), (240, 208, 186),
)  # fmt: skip
HAIR: tuple[Colour, ...] = ((30, 24, 22), (62, 44, 32), (112, 82, 50), (168, 138, 90), (142, 140, 138), (92, 48, 32))
ACCENTS: tuple[Colour, ...] = ((44, 62, 58), (122, 52, 44), (48, 52, 84), (146, 122, 70), (40, 40, 44))
GRASS: tuple[Colour, ...] = ((136, 146, 108), (150, 148, 116), (122, 136, 106), (158, 150, 122))
GRAVEL: tuple[Colour, ...] = ((168, 162, 150), (152, 150, 146), (178, 168, 148))
FLOORS: tuple[Colour, ...] = ((150, 128, 100), (136, 134, 130), (164, 146, 122), (122, 110, 98))
WALLS: tuple[Colour, ...] = ((206, 202, 190), (188, 194, 196), (212, 198, 172), (176, 184, 174), (198, 190, 196))
SKIES: tuple[Colour, ...] = ((206, 214, 222), (222, 218, 208), (190, 204, 220), (228, 214, 196))
HEDGES: tuple[Colour, ...] = ((78, 92, 68), (96, 98, 82), (66, 78, 70), (110, 104, 88))


@dataclass(frozen=True, slots=True)
class Scene:
    """One actor in one scenario: everything that the six actions share."""

    scenario: str
    camera: Camera
    light: Light
    clothes: Clothes
    distance: float
    """Metres from the camera to the middle of the action."""
    direction: Literal[-1, 1]
    """1: the actor heads to the right of the frame."""
    oblique: float
    """Angle between the path of a walker and the image plane, radians."""
    empty: float
    """Share of the time in which a walker is out of sight."""
    zoom: float
    """Amplitude of a slow zoom during a gesture."""
    shake: float
    """Pixels."""
    texture: int
    """Seed of the ground and of the background behind it."""

    @classmethod
    def random(cls, rng: np.random.Generator, scenario: str, body: Body, clothes: Clothes) -> Scene:
        """Return a scene: `d1` outdoors, `d2` with a change of scale, `d3` in other clothes, `d4` indoors."""
        distance = rng.uniform(6.0, 7.0) if scenario == "d2" else rng.uniform(8.0, 10.0)
        size = rng.uniform(74, 78) if scenario == "d2" else rng.uniform(80, 87)
        size *= (body.height / 1.75) ** 0.5
        focal = size / body.height * distance
        ground = rng.uniform(103, 106) if scenario == "d2" else rng.uniform(107, 112)
        height = rng.uniform(1.3, 1.7) if scenario in ("d2", "d4") else rng.uniform(1.5, 2.9)
        side = float(rng.choice((-1.0, 1.0)))
        sun = rng.uniform(0.0, 1.0)
        indoors = scenario == "d4"
        # A longer shadow would be visible before its walker.
        cast = -side * (0.10 if indoors else 0.10 + 0.24 * sun)
        return cls(
            scenario=scenario,
            camera=Camera(focal=focal, horizon=ground - height * focal / distance, height=height),
            light=Light(
                side=side,
                slope=rng.uniform(0.15, 0.4) if indoors else rng.uniform(0.02, 0.2),
                contrast=rng.uniform(0.2, 0.34) if indoors else 0.16 + 0.24 * sun,
                shadow=(cast, rng.uniform(0.02, 0.10) if indoors else rng.uniform(0.15, 0.55)),
                darkness=rng.uniform(0.12, 0.22) if indoors else 0.14 + 0.26 * sun,
                flicker=rng.uniform(0.008, 0.025) if indoors else rng.uniform(0.0, 0.008),
                noise=rng.uniform(2.0, 3.6) if indoors else rng.uniform(1.0, 2.6),
            ),
            clothes=clothes,
            distance=distance,
            direction=1 if rng.random() < 0.5 else -1,
            oblique=np.radians(
                float(rng.choice((-1, 1))) * rng.uniform(14, 21) if scenario == "d2" else rng.uniform(-5, 5)
            ),
            empty=rng.uniform(0.10, 0.14),
            zoom=rng.uniform(0.08, 0.14) if scenario == "d2" else 0.0,
            shake=rng.uniform(0.05, 0.25) if indoors else rng.uniform(0.2, 0.8),
            texture=int(rng.integers(2**31)),
        )


def paint_place(scene: Scene, *, scale: int) -> Image:
    """Return the background without the actor, `(H + 2 * MARGIN, W + 2 * MARGIN, 3)` times `scale`, 0 to 255."""
    rng = np.random.default_rng(scene.texture)
    camera = scene.camera
    rows = (np.arange((HEIGHT + 2 * MARGIN) * scale) + 0.5) / scale - MARGIN
    columns = (np.arange((WIDTH + 2 * MARGIN) * scale) + 0.5) / scale - MARGIN
    indoors = scene.scenario == "d4"
    # Indoors the floor ends at a wall; outdoors the ground extends to the haze.
    end = scene.distance + rng.uniform(1.2, 2.2) if indoors else 70.0
    edge = camera.horizon + camera.height * camera.focal / end
    depth = camera.height * camera.focal / np.maximum(rows - camera.horizon, 0.5)
    depth = np.minimum(depth, end)[:, None]
    aside = (columns[None] - WIDTH / 2) * depth / camera.focal
    ground = (_floor if indoors else _field)(rng, aside, depth + 0 * aside)
    behind = (_wall if indoors else _skyline)(rng, rows[:, None] - edge, columns[None])
    cover = np.clip((rows - edge) * scale + 0.5, 0, 1)[:, None, None]
    blended = behind * (1 - cover) + ground * cover
    lit = scene.light.across(columns)[None, :, None]
    falloff = 1 - 0.10 * (((columns - 80) / 80) ** 2)[None, :, None] * (((rows - 60) / 60) ** 2)[:, None, None]
    image: Image = np.clip(blended * lit * falloff, 0, 255).astype(np.float32)
    return image


def _field(rng: np.random.Generator, x: Array, z: Array) -> Array:
    """Return grass or gravel with patches, and sometimes a path across."""
    gravel = rng.random() < 0.35
    base = np.array(_pick(rng, GRAVEL if gravel else GRASS)) * rng.uniform(0.88, 1.08)
    tone = (
        0.10 * _noise(rng, x * 0.35, z * 0.22)
        + 0.07 * _noise(rng, x * 1.7, z * 0.9)
        + 0.06 * _noise(rng, x * 7.0, z * 2.6)
        + 0.07 * _noise(rng, x * 19.0, z * 5.0)
    )
    ground = base * (1 + tone)[..., None]
    if not gravel and rng.random() < 0.4:
        start = rng.uniform(9.0, 16.0)
        strip = np.clip((z + 0.3 * _noise(rng, x * 0.5, z * 0.5) - start) * 2, 0, 1)
        strip = strip * np.clip((start + rng.uniform(1.5, 4.0) - z) * 2, 0, 1)
        ground = ground + (np.array(_pick(rng, GRAVEL)) * (1 + 0.5 * tone)[..., None] - ground) * 0.7 * strip[..., None]
    haze = np.clip((z - 14) / 70, 0, 0.6)[..., None]
    return ground + (np.array((196.0, 200.0, 200.0)) - ground) * haze


def _skyline(rng: np.random.Generator, up: Array, x: Array) -> Array:
    """Return a soft hedge or row of trees under a pale sky; `up` is negative above the edge of the ground."""
    sky = np.array(_pick(rng, SKIES)) * (1 + 0.0012 * up)[..., None]
    top = -rng.uniform(7, 26) - 5 * _noise(rng, x / 23, 0 * x) - 2.5 * _noise(rng, x / 6, 0 * x)
    leaves = 0.14 * _noise(rng, x / 5 + 0 * up, up / 4) + 0.10 * _noise(rng, x / 2 + 0 * up, up / 2)
    hedge = np.array(_pick(rng, HEDGES)) * (1 + leaves)[..., None]
    hedge = hedge + (np.array((200.0, 204.0, 206.0)) - hedge) * rng.uniform(0.15, 0.45)
    cover = np.clip((up - top) / 3 + 0.5, 0, 1)[..., None]
    return sky * (1 - cover) + hedge * cover


def _floor(rng: np.random.Generator, x: Array, z: Array) -> Array:
    """Return planks or linoleum."""
    base = np.array(_pick(rng, FLOORS)) * rng.uniform(0.88, 1.1)
    tone = 0.05 * _noise(rng, x * 0.7, z * 0.5) + 0.04 * _noise(rng, x * 9.0, z * 1.2)
    if rng.random() < 0.6:
        board = np.floor(x / 0.32)
        seam = np.abs(x / 0.32 - board - 0.5) > 0.47
        tone = tone + 0.06 * _noise(rng, board * 3.7, np.floor(z / 2.4 + board * 0.37) * 5.1) - 0.10 * seam
    return base * (1 + tone)[..., None]


def _wall(rng: np.random.Generator, up: Array, x: Array) -> Array:
    """Return a plain wall with a skirting board and sometimes a door, a dado or a framed image."""
    colour = np.array(_pick(rng, WALLS)) * rng.uniform(0.82, 1.0)
    tone = 0.02 * _noise(rng, x / 30 + 0 * up, up / 30) + 0.012 * _noise(rng, x / 2 + 0 * up, up / 2) + 0.0010 * up
    wall = colour * (1 + tone)[..., None]
    level = up + 0 * x
    if rng.random() < 0.4:
        wall = np.where((level > -rng.uniform(34, 46))[..., None], wall * (0.86, 0.87, 0.88), wall)
    if rng.random() < 0.5:
        left = rng.uniform(-10, 140)
        inside = (x > left) & (x < left + 34) & (up > -88)
        frame = (x > left - 2) & (x < left + 36) & (up > -90)
        wall = np.where(frame[..., None], wall * 0.78, wall)
        wall = np.where(inside[..., None], colour * (0.74, 0.68, 0.60), wall)
    elif rng.random() < 0.7:
        left, bottom = rng.uniform(5, 120), -rng.uniform(58, 70)
        inside = (x > left) & (x < left + 26) & (up > bottom - 20) & (up < bottom)
        wall = np.where(inside[..., None], wall * 0.7 + 14, wall)
    skirting = (up > -4) + 0 * x > 0
    wall = np.where(skirting[..., None], colour * 0.72, wall)
    return np.where(((up > -0.9) + 0 * x > 0)[..., None], colour * 0.42, wall)


def _noise(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Return value noise about 0 with unit lattice, smoothly interpolated."""
    lattice = rng.uniform(-1, 1, size=(64, 64))
    x, y = np.broadcast_arrays(x, y)
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    i, j = column.astype(np.int64) % 64, row.astype(np.int64) % 64
    i1, j1 = (i + 1) % 64, (j + 1) % 64
    upper = lattice[j, i] * (1 - u) + lattice[j, i1] * u
    lower = lattice[j1, i] * (1 - u) + lattice[j1, i1] * u
    result: Array = upper * (1 - v) + lower * v
    return result


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]
