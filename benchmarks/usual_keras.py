"""VGG16 and a bidirectional LSTM in Keras, the usual way: `python usual_keras.py < JOB`, in an environment of its own.

Frames are found with OpenCV seeks and kept as float arrays in memory; the frozen VGG16 stands inside TimeDistributed,
and every epoch goes through it. Weights are random: what the network costs does not depend on them.

The job is JSON: `clips` as pairs of path and class number, `classes`, `frames`, `size`, `batch`, `epochs`, and
`trained`, how many of the clips are trained on. The answer is JSON: seconds to load each clip, of each batch of the
last epoch, and to test a clip.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from keras.applications.vgg16 import VGG16, preprocess_input


class Clock(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Seconds of each batch, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[list[float]] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Another epoch."""
        self.epochs.append([])

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        """Take the time at the start of a batch."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Record the seconds of a batch."""
        self.epochs[-1].append(time.perf_counter() - self._began)


def load(path: str, frames: int, size: int) -> npt.NDArray[np.float32]:
    """Evenly spaced frames of a video, (T, H, W, 3)."""
    video = cv2.VideoCapture(path)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    apart = max(1, count // frames)
    found = []
    for index in range(0, apart * frames, apart):
        video.set(cv2.CAP_PROP_POS_FRAMES, index)
        there, frame = video.read()
        if not there:
            sys.exit(f"{path}: no frame {index}")
        found.append(cv2.cvtColor(cv2.resize(frame, (size, size)), cv2.COLOR_BGR2RGB))
    video.release()
    pixels: npt.NDArray[np.float32] = preprocess_input(np.asarray(found, dtype=np.float32))
    return pixels


def build(frames: int, size: int, classes: int) -> keras.Model:
    """Build the network of the recipe vgg16-bilstm."""
    backbone = VGG16(include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3))
    backbone.trainable = False
    model = keras.Sequential(
        [
            layers.Input((frames, size, size, 3)),
            layers.TimeDistributed(backbone),
            layers.LayerNormalization(),
            layers.Bidirectional(layers.LSTM(128)),
            layers.Dropout(0.5),
            layers.Dense(128, activation="relu", kernel_regularizer=keras.regularizers.l2(0.01)),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    """Load all clips, train on some, test a batch."""
    job = json.load(sys.stdin)
    pixels, loading = [], []
    for path, _ in job["clips"]:
        began = time.perf_counter()
        pixels.append(load(path, job["frames"], job["size"]))
        loading.append(time.perf_counter() - began)
    labels = np.asarray([label for _, label in job["clips"]])
    trained, batch = job["trained"], job["batch"]
    model, clock = build(job["frames"], job["size"], job["classes"]), Clock()
    shown = np.stack(pixels[:trained])
    model.fit(shown, labels[:trained], batch_size=batch, epochs=job["epochs"], verbose=0, callbacks=[clock])
    for _ in range(2):  # the first call compiles
        began = time.perf_counter()
        model.evaluate(shown[:batch], labels[:batch], batch_size=batch, verbose=0)
        tested = (time.perf_counter() - began) / batch
    answer = {"loading": loading, "batches": clock.epochs[-1], "tested": tested, "keras": keras.__version__}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
