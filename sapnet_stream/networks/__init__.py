"""Deraining networks, their weights, and the executors that run them."""

from sapnet_stream.networks.sapnet import SAPNet, SAPNetConfig
from sapnet_stream.networks.weights import load_network, save_network

__all__ = ["SAPNet", "SAPNetConfig", "load_network", "save_network"]
