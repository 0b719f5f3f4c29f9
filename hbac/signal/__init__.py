"""Pure torch: montages, band-pass and decimation, spectrogram images, augmentations.

Everything here is a function or an `torch.nn.Module` without learnt parameters that works on a whole batch on
the model's device. Nothing here knows Lightning, Hydra or pandas.
"""
