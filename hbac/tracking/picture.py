"""A window as one picture: the central 10 seconds as readers look at them, the spectrogram of the whole below."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hbac.signal import EEGFrontEnd, MelImage
from hbac.signal.montage import REGIONS, get_montage
from hbac.signal.reading_order import reading_order, side_of
from hbac.vocabulary import WINDOW_S

# D derivation, T sample, R region, F frequency, C colour

PAGE_S = 10.0  # what the experts voted on
_BAND = "0.5-30"
_UV_PER_ROW = 75.0  # microvolts between two baselines
_ROW, _LEFT, _TOP, _RIGHT, _STRIP = 17, 62, 40, 12, 74  # pixels
_SECOND = 68  # pixels
_MONTAGE = "longitudinal_bipolar"
_SIDES = {"left": (26, 82, 160), "right": (178, 42, 42), "midline": (60, 60, 60)}
_GRID, _INK = (222, 222, 222), (30, 30, 30)
_RAMP = np.array([(13, 8, 60), (84, 15, 109), (187, 55, 84), (249, 142, 9), (252, 255, 164)], float)  # dark to bright


@cache
def _front_ends() -> tuple[EEGFrontEnd, MelImage]:
    return EEGFrontEnd(_MONTAGE, _BAND, scale_uv=1.0), MelImage()


def window_picture(eeg_TC: torch.Tensor, title: str = "") -> Image.Image:
    """Draw a window in microvolt as stored, shape (10000, 20), NaN where nothing was recorded, under a line of text.

    The central 10 seconds in the longitudinal bipolar montage, 0.5–30 Hz, left (blue) over right (red), with a bar of
    100 µV; under it the spectrograms, 0–20 Hz, of the left and the right side over 50 s.
    """
    page, mel = _front_ends()
    signal_DT = page(eeg_TC[None].float())[0].numpy()
    image_RFT = mel(eeg_TC.T[None].float())[0].numpy()
    order, groups = _order()
    width = _LEFT + int(PAGE_S * _SECOND) + _RIGHT
    page_height = _ROW * (len(order) + groups[-1] + 1)
    height = _TOP + page_height + 2 * (_STRIP + 6) + 24
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=11)
    # Pillow's own font has neither µ nor –.
    draw.text((6, 5), title, fill=_INK, font=font)
    _draw_page(draw, font, signal_DT, order, groups, page.sfreq, page_height)
    top = _TOP + page_height + 10
    for name, regions in (("left", ("LL", "LP")), ("right", ("RP", "RL"))):
        strip = image_RFT[[list(REGIONS).index(region) for region in regions]].mean(axis=0)
        picture.paste(_coloured(strip, width - _LEFT - _RIGHT), (_LEFT, top))
        draw.text((6, top + _STRIP // 2 - 6), name, fill=_INK, font=font)
        middle = _LEFT + (width - _LEFT - _RIGHT) * np.array([0.5 - PAGE_S / WINDOW_S / 2, 0.5 + PAGE_S / WINDOW_S / 2])
        for x in middle.tolist():
            draw.line([(x, top), (x, top + _STRIP)], fill="white")
        top += _STRIP + 6
    draw.text((_LEFT, top - 2), "0 to 20 Hz, 50 s; the lines enclose the page above", fill=_INK, font=font)
    return picture


def _order() -> tuple[list[int], list[int]]:
    """Return the derivations from top to bottom, and how many gaps are above each."""
    names = get_montage(_MONTAGE).derivations
    groups = reading_order(_MONTAGE)
    order = [names.index(name) for group in groups for name in group]
    return order, [gap for gap, group in enumerate(groups) for _ in group]


def _draw_page(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    signal_DT: NDArray[np.float32],
    order: list[int],
    groups: list[int],
    sfreq: float,
    height: int,
) -> None:
    names = get_montage(_MONTAGE).derivations
    first = round((WINDOW_S - PAGE_S) / 2 * sfreq)
    n_samples = round(PAGE_S * sfreq)
    x = _LEFT + np.arange(n_samples) / sfreq * _SECOND
    for second in range(int(PAGE_S) + 1):
        at = _LEFT + second * _SECOND
        draw.line([(at, _TOP - 6), (at, _TOP + height - 4)], fill=_GRID)
        draw.text((at - 3, _TOP - 18), str(second), fill=_INK, font=font)
    for place, (position, gap) in enumerate(zip(order, groups, strict=True)):
        baseline = _TOP + _ROW * (place + gap + 0.5)
        name = names[position]
        draw.text((6, baseline - 6), name, fill=_INK, font=font)
        # Negative is up, as clinicians draw it; a trace may cross its neighbours, but not the page.
        up = np.clip(signal_DT[position, first : first + n_samples] / _UV_PER_ROW, -2.5, 2.5) * _ROW
        draw.line(list(zip(x.tolist(), (baseline + up).tolist(), strict=True)), fill=_SIDES[side_of(name)])
    bar = 100.0 / _UV_PER_ROW * _ROW
    right = _LEFT + int(PAGE_S * _SECOND) - 54
    draw.line([(right, _TOP + height - 6 - bar), (right, _TOP + height - 6)], fill=_INK, width=2)
    draw.text((right + 5, _TOP + height - 6 - bar / 2 - 6), "100 uV", fill=_INK, font=font)


def _coloured(image_FT: NDArray[np.float32], width: int) -> Image.Image:
    """Colour a spectrogram whose values run from -1 to 1, low frequencies at the bottom."""
    level = (np.clip(image_FT[::-1], -1, 1) + 1) / 2 * (len(_RAMP) - 1)
    low = np.minimum(level.astype(int), len(_RAMP) - 2)
    share = (level - low)[..., None]
    rgb = _RAMP[low] * (1 - share) + _RAMP[low + 1] * share
    return Image.fromarray(rgb.astype(np.uint8)).resize((width, _STRIP), Image.Resampling.BILINEAR)
