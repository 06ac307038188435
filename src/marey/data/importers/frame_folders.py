"""Import frame folders: a folder per clip, with an image per frame."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import PIL.Image
from PIL import ImageOps, UnidentifiedImageError

from marey.data.clip import Clip
from marey.data.folder import find_manifest
from marey.data.importers.formats import ClipSet, ImportOptions, register_importer
from marey.data.importers.write import ClipSource, Image
from marey.data.manifest import SPLIT_NAMES, read_manifest
from marey.data.text import check_labels, clean_label, join_first, natural_key, pluralize
from marey.errors import DatasetError, VideoError
from marey.video import Limits

IMAGE_SUFFIXES: Final = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_FORMATS: Final = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # with 8 bits per colour


def has_images(root: Path) -> bool:
    """Return True if a folder, or a folder below it, contains images."""
    return root.is_dir() and next(_image_folders(root), None) is not None


@register_importer("frame folders", summary="a folder with a folder of images per clip", detect=has_images)
def import_frame_folders(source: Path, options: ImportOptions) -> ClipSet:
    """Import frame folders as clips; the options do not concern them."""
    return read_frame_folders(source)


def read_frame_folders(root: str | Path) -> ClipSet:
    """Find the clips in a folder of frame folders: class/clip/0001.jpg, or clip/0001.jpg without labels.

    Top folders named train, val and test are the split. A manifest.csv in the folder lists the frame folders in its
    column `path`, with their labels, groups and splits. Frames are sorted by the numbers in their names: 2 comes
    before 10.

    Raises:
        DatasetError: there are no images, images outside a clip folder, or frames of several clips in one folder.
    """
    root = Path(root)
    folders = dict(_image_folders(root))
    if not folders:
        raise DatasetError(
            f"{root} holds no images ({' '.join(sorted(IMAGE_SUFFIXES))}): it has to hold a folder per clip"
        )
    if root in folders:
        raise DatasetError(f"{root} holds images itself: put the frames of each clip into a folder of its own")
    for folder, names in folders.items():
        _check_one_clip(folder, names)
    listed = find_manifest(root)
    clips = _by_folders(root, list(folders)) if listed is None else _by_manifest(listed, folders)
    notes = _notes(root, {clip.path: folders[clip.path] for clip in clips}, clips)
    if listed is not None and len(clips) < len(folders):
        notes.append(f"{pluralize(len(folders) - len(clips), 'folder')} left aside that {listed.name} does not name")
    new = [
        ClipSource(
            name=clip.path.relative_to(root).as_posix(),
            label=clip.label,
            group=clip.group,
            split=clip.split,
            frames=partial(_read_frames, clip.path, folders[clip.path]),
            source=clip.path,
            changed=max(_changed(path) for path in (clip.path, *(clip.path / name for name in folders[clip.path]))),
        )
        for clip in clips
    ]
    return ClipSet(tuple(new), tuple(notes), {"source": str(root.absolute())})


def _changed(path: Path) -> float:
    """Return the modification time; 0 for a broken link, which is reported when it is read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _image_folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders that contain images and the image names, in natural order; each folder is entered once."""
    entered: set[str] = set()

    def explain(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be read: {error.strerror}") from error

    for place, folders, files in os.walk(root, followlinks=True, onerror=explain):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        odd = [name for name in (*folders, *files) if any("\ud800" <= letter <= "\udfff" for letter in name)]
        if odd:
            raise DatasetError(f"{place} holds {odd[0]!r}, whose name is not valid Unicode: rename it")
        names = [name for name in files if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES]
        if names:
            yield Path(place), sorted(names, key=natural_key)


def _check_one_clip(folder: Path, names: list[str]) -> None:
    """Refuse the frames of several clips in one folder: a_1.jpg beside b_1.jpg, or two frames with one number."""
    patterns = Counter(re.sub(r"[0-9]+", "#", Path(name).stem) for name in names)
    numbers = Counter(number for name in names if (number := _number(name)) is not None)
    twice = next((number for number, count in numbers.items() if count > 1), None)
    if len(patterns) > 1:
        why = f"images with {len(patterns)} name patterns ({join_first(sorted(patterns))})"
    elif twice is not None:
        same = [name for name in names if _number(name) == twice]
        why = f"more than one image with the number {twice} ({join_first(same)})"
    else:
        return
    raise DatasetError(f"{folder} holds {why}: it has to hold the frames of one clip, numbered one after another")


def _number(name: str) -> int | None:
    """Return the last number in a name."""
    found = re.findall(r"[0-9]+", Path(name).stem)
    return int(found[-1]) if found else None


def _by_folders(root: Path, folders: list[Path]) -> list[Clip]:
    places = {folder: folder.relative_to(root).parts for folder in folders}
    split = all(parts[0].lower() in SPLIT_NAMES and len(parts) > 1 for parts in places.values())
    clips = []
    for folder, parts in places.items():
        inner = parts[1:] if split else parts
        label = clean_label(inner[0]) if len(inner) > 1 else None
        clips.append(Clip(folder, label, split=SPLIT_NAMES[parts[0].lower()] if split else None))
    unlabelled = [clip for clip in clips if clip.label is None]
    if unlabelled and len(unlabelled) < len(clips):
        raise DatasetError(
            f"some clips lie in a class folder and others do not ({unlabelled[0].path.relative_to(root)}): put all "
            "into class folders (class/clip/0001.jpg), or list them in a manifest.csv with the columns path,label"
        )
    check_labels({clip.label: f"folder {clip.path.parent}" for clip in clips if clip.label is not None})
    return clips


def _by_manifest(listed: Path, folders: dict[Path, list[str]]) -> list[Clip]:
    clips = read_manifest(listed, missing="keep").clips
    for clip in clips:
        if clip.path not in folders:
            raise DatasetError(f"{listed} names {clip.path}, and there is no folder of images there")
        if clip.start is not None or clip.end is not None:
            raise DatasetError(f"{listed} gives {clip.path} a start or an end, and a folder of images is read whole")
    return list(clips)


def _notes(root: Path, folders: dict[Path, list[str]], clips: list[Clip]) -> list[str]:
    notes = []
    if clips and clips[0].label is None:
        notes.append("no labels known: put clips into class folders, or fill in the column 'label' of the manifest")
    gaps = []
    for folder, names in folders.items():
        numbers = [number for name in names if (number := _number(name)) is not None]
        if numbers and len(numbers) != numbers[-1] - numbers[0] + 1:
            gaps.append(folder.relative_to(root).as_posix())
    if gaps:
        notes.append(
            f"the numbers of the frames have gaps in {pluralize(len(gaps), 'clip')} ({join_first(gaps)}): "
            "the remaining frames are treated as consecutive"
        )
    return notes


def _read_frames(folder: Path, names: list[str], limits: Limits = Limits()) -> Iterator[Image]:  # noqa: B008
    """Yield the frames of a clip, all grey or all RGB, like the first one.

    Raises:
        VideoError: a frame cannot be read, or differs in size from the first one.
    """
    first: Image | None = None
    for name in names:
        frame = _read_image(folder / name, limits)
        if first is None:
            first = frame
        elif frame.shape[:2] != first.shape[:2]:
            sizes = " and ".join(f"{rows} x {columns}" for rows, columns in (frame.shape[:2], first.shape[:2]))
            raise VideoError(
                folder, "corrupt", f"its frames are of different sizes: {name} and {names[0]} have {sizes}"
            )
        if frame.ndim > first.ndim:
            raise VideoError(
                folder, "corrupt", f"its frames are of different kinds: {names[0]} is grey, {name} in colour"
            )
        yield frame if frame.ndim == first.ndim else np.repeat(frame[..., None], 3, axis=2)


def _read_image(path: Path, limits: Limits) -> Image:
    folder, name = path.parent, path.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # the limit below is stricter
            with PIL.Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > limits.max_pixels:
                    size = f"{image.width} x {image.height} pixels"
                    raise VideoError(folder, "too_large", f"{name} has {size}, and {limits.max_pixels:,} are allowed")
                if image.mode not in _MODES:
                    raise VideoError(folder, "corrupt", f"{name} has the mode {image.mode}; 8 bits per colour are read")
                upright = ImageOps.exif_transpose(image)
                return np.asarray(upright.convert("L" if image.mode in ("1", "L") else "RGB"))
    except VideoError:
        raise
    except UnidentifiedImageError as error:
        raise VideoError(folder, "corrupt", f"{name} is no image that can be read, or an empty one") from error
    except PIL.Image.DecompressionBombError as error:
        raise VideoError(folder, "too_large", f"{name}: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise VideoError(folder, "corrupt", f"{name} cannot be read: {error}") from error
