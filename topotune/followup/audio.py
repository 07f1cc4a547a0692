"""Changes of log-mel spectrograms: windows (N, 1, M, W) of M mel bands and W frames, in dB, as the data module keeps
them (16 kHz, a frame every 10 ms). No waveform is kept, so all are defined on spectrograms; the definitions are ours.
"""

import torch
from torch import Generator, Tensor

from topotune.data.spectrogram import HOP, RATE, log_mel

_LOWEST = 1e-10  # power of what log_mel calls silence, −100 dB


def sound_noise(windows: Tensor, ratio: float, generator: Generator) -> Tensor:
    """The powers of the window and of white noise, made as a waveform and brought into the same mel bands, added up.

    ratio: of the mean power of the window over all bands and frames to the noise's, in dB.
    """
    count, _, _, frames = windows.shape
    noise = log_mel(torch.randn(count, (frames - 1) * HOP, generator=generator)).transpose(1, 2).unsqueeze(1)
    powers, noise = _power(windows.float()), _power(noise.to(windows.device))
    share = powers.mean((1, 2, 3), keepdim=True) / noise.mean((1, 2, 3), keepdim=True) / 10 ** (ratio / 10)
    return 10 * (powers + share * noise).clamp(min=_LOWEST).log10()


def _power(decibels: Tensor) -> Tensor:
    return (decibels / 10 * torch.log(torch.tensor(10.0))).exp()


def time_mask(windows: Tensor, share: float, generator: Generator) -> Tensor:
    """A run of round(share · W) frames, at a place of its own in each window, takes the window's mean."""
    return _masked(windows, share, generator, 3)


def frequency_mask(windows: Tensor, share: float, generator: Generator) -> Tensor:
    """A run of round(share · M) mel bands likewise."""
    return _masked(windows, share, generator, 2)


def _masked(windows: Tensor, share: float, generator: Generator, axis: int) -> Tensor:
    size = windows.shape[axis]
    length = round(share * size)
    first = (torch.rand(len(windows), generator=generator) * (size - length + 1)).long()
    along = torch.arange(size)
    hidden = (along >= first.unsqueeze(1)) & (along < first.unsqueeze(1) + length)  # (N, size)
    hidden = hidden.view(-1, 1, *((1, size) if axis == 3 else (size, 1))).to(windows.device)
    return torch.where(hidden, windows.float().mean((1, 2, 3), keepdim=True), windows.float())


def speed(windows: Tensor, factor: float, _generator: Generator) -> Tensor:
    """The sound played so many times as fast, from the window's start: times are divided by the factor and frequencies
    multiplied, with linear interpolation between frames and between bands. What is not known, before the lowest band,
    above the highest and after the last frame, is the window's least value."""
    bands, frames = windows.shape[2:]
    heard = _between(windows.float(), torch.arange(frames) * factor, 3)
    return _between(heard, _bands_at(_centres(bands) / factor, bands), 2)


def _centres(bands: int) -> Tensor:
    """Middle frequencies of the mel bands, in Hz: evenly spaced in mel (HTK's, torchaudio's default) up to 8 kHz."""
    top = 2595 * torch.log10(torch.tensor(1 + RATE / 2 / 700))
    mels = torch.arange(1, bands + 1) * top / (bands + 1)
    return 700 * (10 ** (mels / 2595) - 1)


def _bands_at(frequencies: Tensor, bands: int) -> Tensor:
    """The (fractional) numbers of the bands at these frequencies."""
    top = 2595 * torch.log10(torch.tensor(1 + RATE / 2 / 700))
    return 2595 * torch.log10(1 + frequencies / 700) * (bands + 1) / top - 1


def _between(windows: Tensor, places: Tensor, axis: int) -> Tensor:
    """Values at fractional places (K,) along an axis."""
    size = windows.shape[axis]
    # a hair beyond the edge is rounding
    known = ((places > -1e-3) & (places < size - 1 + 1e-3)).to(windows.device)
    places = places.clamp(0, size - 1).to(windows.device)
    before = places.floor().long().clamp(max=size - 2)
    shape = (1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)
    rest = (places - before).view(shape)
    found = windows.index_select(axis, before) * (1 - rest) + windows.index_select(axis, before + 1) * rest
    return torch.where(known.view(shape), found, windows.amin((1, 2, 3), keepdim=True))
