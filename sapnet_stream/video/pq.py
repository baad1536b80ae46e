"""PQ (SMPTE ST 2084) as a network for photographs can see it, and its change back in PQ.

PQ spends its codes on light up to 10,000 cd/m²: paper white is at 58 % and the picture looks
flat and dark to a network trained on gamma. The curve here gives what SDR would up to the
white of 203 cd/m² (ITU-R BT.2408), at the 75 % where HLG has it, and squeezes the highlights
above into the rest. It rises strictly, so every change has its counterpart in PQ.
"""

import math

import torch
from torch import Tensor

# SMPTE ST 2084 / ITU-R BT.2100 table 4, for light in units of 10,000 cd/m².
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

_WHITE = 203 / 10_000
_WHITE_SIGNAL = 0.75
_GAMMA = 2.4  # ITU-R BT.1886
# Solves _KNEE = 4 * _WHITE_SIGNAL / _GAMMA * log1p(_KNEE * (1 / _WHITE - 1)): no kink at white.
_KNEE = 7.341
_HIGHLIGHTS = (1 - _WHITE_SIGNAL) / math.log1p(_KNEE * (1 / _WHITE - 1))


def gamma_from_pq(pq: Tensor) -> Tensor:
    """PQ code values in [0, 1], any shape, floating, as a gamma signal in [0, 1]."""
    power = pq.clamp(0, 1) ** (1 / _M2)
    light = ((power - _C1).clamp_(min=0) / (_C2 - _C3 * power)) ** (1 / _M1)
    whites = light.div_(_WHITE)
    shadows = _WHITE_SIGNAL * whites.clamp(max=1) ** (1 / _GAMMA)
    return shadows.add_(torch.log1p(_KNEE * (whites - 1).clamp_(min=0)), alpha=_HIGHLIGHTS)


def pq_from_gamma(signal: Tensor) -> Tensor:
    """The inverse of `gamma_from_pq`."""
    signal = signal.clamp(0, 1)
    whites = (signal.clamp(max=_WHITE_SIGNAL) / _WHITE_SIGNAL) ** _GAMMA
    whites += torch.expm1((signal - _WHITE_SIGNAL).clamp_(min=0) / _HIGHLIGHTS) / _KNEE
    power = (whites * _WHITE) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def pq_change(signal: Tensor, change: Tensor) -> Tensor:
    """What a change of `signal` (see `gamma_from_pq`) changes in PQ; zero stays exactly zero."""
    return pq_from_gamma(signal + change) - pq_from_gamma(signal)
