"""Networks that are trained end to end, one file a family."""

from marey.models.networks import c3d, cnn_lstm, convlstm, lrcn, video
from marey.models.networks.network import Network, PerFrame, Shape

__all__ = ["Network", "PerFrame", "Shape", "c3d", "cnn_lstm", "convlstm", "lrcn", "video"]
