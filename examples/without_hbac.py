"""Predict with an exported file, without hbac: python without_hbac.py model.onnx|model.pt2 eeg.npy.

eeg.npy: (batch, 10000, 20) microvolt at 200 Hz; what `python -m hbac.export to=onnx` wrote says the channels' order.
A file beside which `export.json` lies is compared with the hash in there: nothing else would notice a flipped bit.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

path, eeg = sys.argv[1], np.load(sys.argv[2]).astype(np.float32)
about_file = Path(path).with_name("export.json")
if about_file.is_file():
    written = json.loads(about_file.read_text())["sha256"][Path(path).name]
    if hashlib.sha256(Path(path).read_bytes()).hexdigest() != written:
        sys.exit(f"{path}: not the file that was exported (SHA-256): damaged")
if path.endswith(".onnx"):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    classes = session.get_modelmeta().custom_metadata_map["classes"]
    (prob,) = session.run(None, {"eeg": eeg})
else:
    import torch

    about = {"hbac.json": ""}
    prob = torch.export.load(path, extra_files=about).module()(torch.from_numpy(eeg)).detach().numpy()
    classes = json.loads(about["hbac.json"])["classes"]
sys.stdout.write(classes.replace(",", "  ") + "\n")
for row in prob:
    sys.stdout.write("  ".join(f"{value:.4f}" for value in row) + "\n")
