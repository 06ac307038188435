"""Networks that were trained in Keras: their layers, their files, and the way from one to the other."""

from marey.models.keras.conversion import ImportedNetwork, read_network
from marey.models.keras.network import KerasNetwork, Pixels
from marey.models.keras.originals import ORIGINALS, original_of

__all__ = ["ORIGINALS", "ImportedNetwork", "KerasNetwork", "Pixels", "original_of", "read_network"]
