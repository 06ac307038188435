"""Networks that are trained end to end, one file a family."""

from marey.models.networks import c3d, cnn_lstm, convlstm, lrcn, video
from marey.models.networks.network import EndToEndModel, PerFrame, Shape

__all__ = ["EndToEndModel", "PerFrame", "Shape", "c3d", "cnn_lstm", "convlstm", "lrcn", "video"]
