"""Predict with an exported file, without hbac: python without_hbac.py model.onnx|model.pt2 eeg.npy.

eeg.npy: (batch, 10000, 20) microvolt at 200 Hz; what `python -m hbac.export to=onnx` wrote says the channels' order.
"""

import sys

import numpy as np

path, eeg = sys.argv[1], np.load(sys.argv[2]).astype(np.float32)
if path.endswith(".onnx"):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    classes = session.get_modelmeta().custom_metadata_map["classes"]
    (prob,) = session.run(None, {"eeg": eeg})
else:
    import json

    import torch

    about = {"hbac.json": ""}
    prob = torch.export.load(path, extra_files=about).module()(torch.from_numpy(eeg)).detach().numpy()
    classes = json.loads(about["hbac.json"])["classes"]
sys.stdout.write(classes.replace(",", "  ") + "\n")
for row in prob:
    sys.stdout.write("  ".join(f"{value:.4f}" for value in row) + "\n")
