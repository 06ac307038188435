"""Write trained Keras models with their answers: `python keras_files.py OUT [NAME ...]`, in an environment with Keras.

`tests/models/keras_files` was made by it, with Keras 2.15 and with Keras 3. Weights are random, those of batch
normalisation included. A name that ends in "-whole" is of the full size, and reads the frames of OUT/NAME.npz.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from keras.applications.vgg16 import VGG16, preprocess_input

CLASSES: Final = 3
Td: Final = layers.TimeDistributed


def cnn_lstm(frames: int, size: int, filters: int) -> Any:
    """Build the network of the recipe cnn-lstm."""
    stages: list[Any] = []
    for index in range(3):
        padding = "same" if index else "valid"
        stages += [Td(layers.Conv2D(filters, 3, activation="relu", padding=padding)), Td(layers.BatchNormalization())]
        stages += [Td(layers.MaxPooling2D(2)), Td(layers.Dropout(0.2))]
    dense = [layers.Dense(5, activation="relu"), layers.Dropout(0.2), layers.Dense(CLASSES, activation="softmax")]
    lstm = layers.LSTM(6, dropout=0.2)
    return keras.Sequential([layers.Input((frames, size, size, 1)), *stages, Td(layers.Flatten()), lstm, *dense])


def lrcn() -> Any:
    """Build an LRCN as it is taught: convolutions a frame, an LSTM, a dense layer."""
    stages: list[Any] = []
    for filters, pool in ((3, 4), (4, 4), (5, 2), (5, 2)):
        stages += [Td(layers.Conv2D(filters, (3, 3), padding="same", activation="relu"))]
        stages += [Td(layers.MaxPooling2D((pool, pool))), Td(layers.Dropout(0.25))]
    end = [Td(layers.Flatten()), layers.LSTM(4), layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential([layers.Input((4, 64, 64, 3)), *stages, *end])


def convlstm() -> Any:
    """Build a ConvLSTM as it is taught, with sides that pooling does not divide."""
    stages: list[Any] = []
    for filters in (2, 3):
        stages += [layers.ConvLSTM2D(filters, (3, 3), activation="tanh", recurrent_dropout=0.2, return_sequences=True)]
        stages += [layers.MaxPooling3D((1, 2, 2), padding="same"), Td(layers.Dropout(0.2))]
    end = [layers.Flatten(), layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential([layers.Input((4, 20, 17, 3)), *stages, *end])


def c3d() -> Any:
    """Build 3D convolutions, a bidirectional LSTM, a GRU and a dense layer, with the functional interface."""
    given = layers.Input((6, 16, 20, 3))
    values = layers.Rescaling(1 / 255.0)(given)
    for filters in (3, 4):
        values = layers.Conv3D(filters, 3, padding="same", use_bias=False)(values)
        values = layers.BatchNormalization()(values)
        values = layers.Activation("relu")(values)
        values = layers.MaxPooling3D((1, 2, 2))(values)
    values = Td(layers.GlobalAveragePooling2D())(values)
    values = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(values)
    values = layers.GRU(5)(values)
    return keras.Model(given, layers.Dense(CLASSES, activation="softmax")(values))


def nested() -> Any:
    """Build a network a frame with a branch, inside a model, and a bidirectional GRU over the frames."""
    image = layers.Input((12, 12, 3))
    first = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(image)
    normal = layers.BatchNormalization(name="normal")(first)
    joined = layers.Add()([layers.Conv2D(4, 1, name="beside")(normal), normal])
    pooled = layers.AveragePooling2D(3, strides=2, padding="same")(layers.ReLU()(joined))
    network = keras.Model(image, layers.Flatten()(pooled), name="network")
    given = layers.Input((5, 12, 12, 3))
    values = layers.LayerNormalization()(Td(network)(given))
    values = layers.Bidirectional(layers.GRU(3))(values)
    return keras.Model(given, layers.Dense(CLASSES)(layers.Dense(4, activation="elu")(values)))


def vgg_bilstm(frames: int, size: int) -> Any:
    """Build VGG16, a bidirectional LSTM and a dense layer."""
    network = VGG16(include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3))
    head = [layers.LayerNormalization(), layers.Bidirectional(layers.LSTM(128)), layers.Dropout(0.5)]
    dense = [layers.Dense(128, activation="relu"), layers.Dropout(0.5), layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential([layers.Input((frames, size, size, 3)), Td(network), *head, *dense])


def vgg_lstm(frames: int) -> Any:
    """Build VGG16 on 80 x 100 pixels, its map in a row, an LSTM and a dense layer."""
    network = VGG16(include_top=False, weights=None, input_shape=(80, 100, 3))
    dense = [layers.Dense(1024, activation="relu"), layers.Dropout(0.4), layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential(
        [layers.Input((frames, 80, 100, 3)), Td(network), Td(layers.Flatten()), layers.LSTM(1200), *dense]
    )


NETWORKS: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "cnn-lstm": (lambda: cnn_lstm(4, 20, 4), "0..1"),
    "lrcn-small": (lrcn, "0..1"),
    "convlstm": (convlstm, "0..1"),
    "c3d-lstm-gru": (c3d, "0..255"),
    "nested": (nested, "-1..1"),
    "cnn-lstm-whole": (lambda: cnn_lstm(10, 80, 64), "0..1"),
    "vgg16-bilstm-whole": (lambda: vgg_bilstm(8, 112), "caffe"),
    "vgg16-lstm-whole": (lambda: vgg_lstm(10), "caffe"),
}
"""Name -> network, and how its pixels are given."""


def main() -> None:
    """Write the models that are named, or all small ones."""
    out = Path(sys.argv[1])
    names = sys.argv[2:] or [name for name in NETWORKS if not name.endswith("-whole")]
    two = keras.__version__.startswith("2")
    for name in names:
        keras.utils.set_random_seed(7)
        build, pixels = NETWORKS[name]
        model = build()
        random = np.random.default_rng(3)
        for weight in model.weights:
            if any(part in weight.name for part in ("gamma", "variance")):
                weight.assign(random.uniform(0.5, 1.5, tuple(weight.shape)))
            elif any(part in weight.name for part in ("bias", "beta", "mean")):
                weight.assign(random.normal(0, 0.3, tuple(weight.shape)))
            elif len(weight.shape) == 2:
                weight.assign(3 * np.asarray(weight))  # clips are told apart without training
        shape = tuple(model.input_shape[1:])
        given = out / f"{name}.npz"
        frames = np.load(given)["frames"] if name.endswith("-whole") else random.integers(0, 256, (3, *shape), np.uint8)
        if name.endswith("-whole"):
            spread(model, scaled(frames, pixels))
        answers = model.predict(scaled(frames, pixels), batch_size=2, verbose=0)
        stem = f"{name}-{'2' if two else '3'}"
        np.savez_compressed(out / f"{stem}.npz", frames=frames, answers=answers, pixels=pixels)
        model.save(out / f"{stem}.h5")
        model.save(out / f"{stem}.keras")
        model.save_weights(out / f"{stem}{'-weights.h5' if two else '.weights.h5'}")
        (out / f"{stem}.json").write_text(model.to_json() + "\n", encoding="utf-8")


def spread(model: Any, values: Any) -> None:
    """Set the last layer so that its outputs differ from clip to clip as those of a trained network do."""
    inside = keras.Model(model.inputs, model.layers[-2].output).predict(values, batch_size=2, verbose=0)
    _, strengths, directions = np.linalg.svd(inside - inside.mean(0), full_matrices=False)
    kernel = directions[:CLASSES].T / strengths[:CLASSES] * len(values) ** 0.5
    model.layers[-1].set_weights([kernel, -inside.mean(0) @ kernel])


def scaled(frames: Any, pixels: str) -> Any:
    """Return frames as a network is given them."""
    values = frames.astype(np.float32)
    if pixels == "caffe":
        return preprocess_input(values.copy())
    return {"0..1": values / 255.0, "0..255": values, "-1..1": values / 127.5 - 1}[pixels]


if __name__ == "__main__":
    main()
