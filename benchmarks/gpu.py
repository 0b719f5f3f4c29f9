"""Everything about speed on one GPU, as ratios within one run, and what only a GPU can check.

    python benchmarks/gpu.py                    # ends within 8 minutes on one GPU
    python benchmarks/gpu.py --smoke            # in seconds, on whatever there is: does the script work?
    python benchmarks/gpu.py --only training    # some of the sections

Rates are windows a second. "Alone" is the network's training step on a batch that stays on the device: what the loader,
the front-end, the augmentation and Lightning around it may not slow down by more than a tenth. The public recipes' own
networks stand beside ours, at their own sizes. Checks end the command with status 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.models import EfficientNet, PublicResNetGRU, ResNetGRU
from hbac.signal import EEGFrontEnd, MelImage, RawAugment, row_keys
from tests.helpers import write_hms_layout

HMS_ROWS, EPOCHS, FOLDS = 106_800, 15, 5
PRECISIONS = {
    "float32": (None, False),
    "float32, TF32": (None, True),
    "bf16": (torch.bfloat16, True),
    "fp16": (torch.float16, True),
}
FULL_SCALE_UV = 30_000.0  # an electrode that fell off


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(call: Callable[[], Any], windows: int, device: torch.device, least_s: float) -> float:
    """Windows a second: the median over chunks of calls that take `least_s` together; the first calls warm up."""
    calls = 4 if least_s else 1
    for _ in range(3 if least_s else 1):
        call()
    synchronize(device)
    chunks: list[float] = []
    began = time.perf_counter()
    while not chunks or time.perf_counter() - began < least_s:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        synchronize(device)
        chunks.append((time.perf_counter() - start) / calls)
    return windows / statistics.median(chunks)


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def training_step(network: nn.Module, x: torch.Tensor, dtype: torch.dtype | None) -> Callable[[], None]:
    """One step of AdamW on the KL divergence, with loss scaling where float16 needs it."""
    device = x.device.type
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=device == "cuda")
    target_BK = torch.rand(len(x), 6, device=x.device).softmax(dim=1)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)

    def step() -> None:
        with torch.autocast(device, dtype, enabled=dtype is not None):
            logits_BK = network(x)
        loss = F.kl_div(logits_BK.float().log_softmax(dim=1), target_BK, reduction="batchmean")
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

    return step


class Bench:
    """The sections, in turn; what they find is printed at once and kept.

    Parameters
    ----------
    device : torch.device
        What is measured.
    smoke : bool
        Small sizes and few calls.
    folder : Path
        For data and runs.
    """

    def __init__(self, device: torch.device, smoke: bool, folder: Path) -> None:
        self.device, self.smoke, self.folder = device, smoke, folder
        self.least_s = 0.0 if smoke else 0.5
        self.found: dict[str, Any] = {}
        self.failed: list[str] = []

    def note(self, name: str, value: float, unit: str = "windows/s", **more: Any) -> None:
        self.found[name] = {"value": value, "unit": unit, **more}
        beside = "  ".join(f"{key} {number:.3g}" for key, number in more.items())
        print(f"{name:58s}{value:12,.1f} {unit:10s} {beside}", flush=True)

    def check(self, name: str, holds: bool, found: str) -> None:
        self.found[name] = {"holds": holds, "found": found}
        print(f"{'holds' if holds else 'FAILS'}  {name}: {found}", flush=True)
        if not holds:
            self.failed.append(name)

    def data(self) -> Path:
        """Write a data set in the HMS layout: few recordings, many windows of each."""
        root = self.folder / "data"
        if not root.is_dir():
            n_eegs, n_rows = (12, 2) if self.smoke else (800, 30)
            write_hms_layout(root, n_eegs=n_eegs, n_test=4, with_spectrograms=True, max_rows_per_eeg=n_rows)
        return root

    def networks(self) -> Iterator[tuple[str, nn.Module, tuple[int, ...], int]]:
        """Name, network, shape of a window, batch; ours first, then what the public recipes train."""
        small, torch_batch = self.smoke, 4 if self.smoke else 256
        backbone = "test_efficientnet" if small else "efficientnet_b0"
        tile, whole = (64, 64) if small else (128, 256), 64 if small else 512
        yield "resnet_gru 18 x 2,000", ResNetGRU(n_chans=18, n_times=2000), (18, 2000), torch_batch
        yield "efficientnet 8 tiles", EfficientNet(backbone, in_chans=8), (8, *tile), torch_batch // 2
        yield f"efficientnet {whole} x {whole}", EfficientNet(backbone, in_chans=3), (3, whole, whole), torch_batch // 4
        n_times = 600 if small else 2000  # its GRU reads every sample
        yield (
            f"public ResNet-GRU 8 x {n_times:,}",
            PublicResNetGRU(8, n_times=n_times),
            (8, n_times),
            4 if small else 64,
        )
        public = EfficientNet(backbone, in_chans=3, channels_last=False)
        yield f"public EfficientNet {whole} x {whole}", public, (3, whole, whole), 4 if small else 32

    def alone(self) -> None:
        """Training steps of the networks on a batch that stays on the device."""
        for name, network, shape, batch in self.networks():
            network.to(self.device)
            x = torch.randn(batch, *shape, device=self.device)
            public = name.startswith("public")
            wanted = {"float32": PRECISIONS["float32"]} if public else PRECISIONS
            compiled = [False, True] if "resnet_gru" in name or "tiles" in name else [False]
            plain = 0.0
            for (precision, (dtype, fast)), compile_it in itertools.product(wanted.items(), compiled):
                if compile_it and precision != "bf16":
                    continue  # a minute of compilation each; bf16 is what trainer=gpu takes
                backend = "eager" if self.smoke else "inductor"  # a compiler takes minutes on two cores
                module = torch.compile(network, backend=backend) if compile_it else network
                label = f"alone, {name}, {precision}{', compiled' if compile_it else ''}"
                if self.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                try:
                    with tf32(fast):
                        found = rate(training_step(module, x, dtype), batch, self.device, self.least_s)  # type: ignore[arg-type]
                except RuntimeError as error:
                    self.check(label, False, str(error).splitlines()[0])
                    continue
                plain = plain or found
                peak = torch.cuda.max_memory_allocated() / 1e9 if self.device.type == "cuda" else float("nan")
                self.note(label, found, ratio=found / plain, peak_gb=peak, batch=batch)
            network.to("cpu")

    def input(self) -> None:
        """Store to batch, and the front-ends on the device."""
        from hbac.data import EEGDataModule
        from hbac.recordings.datasets import HMS

        part = HMS(self.data(), self.folder / "stores").part("train", official=True)
        batch = 16 if self.smoke else 256
        for workers in (0,) if self.smoke else (0, 4, 12):
            module = EEGDataModule(part, EEGFrontEnd(), batch_size=min(batch, len(part.rows)), num_workers=workers)
            loader = module.predict_dataloader()

            def epoch(loader: Any = loader) -> int:
                for read in loader:
                    read["eeg"].to(self.device, non_blocking=True)
                synchronize(self.device)
                return len(part.rows)

            epoch()
            start, windows = time.perf_counter(), 0
            while not windows or time.perf_counter() - start < self.least_s:
                windows += epoch()
            self.note(f"store to device, {workers} workers", windows / (time.perf_counter() - start))
        eeg = 20 * torch.randn(batch, 10_000, 20, device=self.device).half()
        keys = row_keys(0, 0, torch.arange(batch, device=self.device))
        raw = RawAugment(swap_p=0.5, gain_p=0.6, drop_p=0.2)
        signal, image = EEGFrontEnd().to(self.device), MelImage().to(self.device)
        with torch.no_grad():
            for name, call in {
                "front-end, signals": lambda: signal(eeg),
                "front-end, signals with electrode augmentation": lambda: signal(eeg, raw.mixing(keys)),
                "front-end, mel images": lambda: image(eeg.transpose(1, 2).float()),
            }.items():
                self.note(name, rate(call, batch, self.device, self.least_s))

    def command(self, where: str, *settings: str) -> tuple[Path, list[str]]:
        """Return the folder of a training of its own, and its command."""
        outputs = self.folder / "runs" / where
        accelerator = "gpu" if self.device.type == "cuda" else "cpu"
        line = [sys.executable, "-m", "hbac.train", "dataset=hms", f"dataset.root={self.data()}", "logger=csv",
                f"dataset.stores={self.folder / 'stores'}", f"outputs={outputs}",
                f"trainer.accelerator={accelerator}", "labels.n_folds=2", *settings]  # fmt: skip
        return outputs, line

    def train(self, where: str, *settings: str) -> Path:
        """Train, and return the run's folder."""
        outputs, line = self.command(where, *settings)
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=400)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        [run] = outputs.glob("runs/*/fold0")
        return run

    def kill(self, where: str, *settings: str) -> None:
        """Kill a training when it has written a checkpoint."""
        outputs, line = self.command(where, *settings)
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(outputs.glob("runs/*/fold0/checkpoints/last.ckpt")):
            time.sleep(0.01)
        process.kill()
        process.wait()

    def training(self) -> None:
        """Training as users type it, over the network alone."""
        import pandas as pd

        epochs = 2 if self.smoke else 10
        small = ["model.filters=8", "model.width=16", "model.depth=2"] if self.smoke else []
        workers = [] if self.smoke else ["data.num_workers=12"]
        image = ["model.backbone=test_efficientnet", "front_end.tile_height=32", "front_end.tile_width=64"]
        for name, settings, beside in (
            ("resnet_gru", ["model=resnet_gru", *small], "alone, resnet_gru 18 x 2,000, bf16"),
            ("resnet_gru, windows read", ["model=resnet_gru", "data.resident=none", *workers, *small],
             "alone, resnet_gru 18 x 2,000, bf16"),
            ("efficientnet", ["model=efficientnet", "model.pretrained=false", *(image if self.smoke else [])],
             "alone, efficientnet 8 tiles, bf16"),
        ):  # fmt: skip
            batch = 4 if self.smoke else (128 if name == "efficientnet" else 256)
            precision = "bf16-mixed" if self.device.type == "cuda" else "32-true"
            run = self.train(name.replace(", ", "_").replace(" ", "_"), *settings, f"trainer.max_epochs={epochs}",
                             f"data.batch_size={batch}", f"trainer.precision={precision}")  # fmt: skip
            log = pd.read_csv(run / "logs" / "version_0" / "metrics.csv")
            found = float(log["train/windows_per_s"].dropna().iloc[1:].median())
            alone = self.found.get(beside, {}).get("value", float("nan"))
            self.note(f"training, {name}, {precision}", found, of_alone=found / alone)
            hours = HMS_ROWS * EPOCHS * FOLDS * (FOLDS - 1) / FOLDS / found / 3600
            self.note(f"full HMS training, {name}: {EPOCHS} epochs, {FOLDS} folds", hours, "hours")

    def inference(self) -> None:
        """Five folds each of both kinds over one data set."""
        from hbac.data.windows import WindowDataset
        from hbac.ensembling.ensemble_file import Ensemble
        from hbac.inference.networks import Networks, RowChunks, predict_runs
        from hbac.recordings.datasets import HMS
        from tests.ensembles import write_ensemble

        small = ["model.backbone=test_efficientnet", "front_end.tile_height=32", "front_end.tile_width=64"]
        members = [[], ["model=efficientnet", "model.pretrained=false", *(small if self.smoke else [])]]
        part = HMS(self.data(), self.folder / "stores").part("train", official=True)
        ensemble = Ensemble.read(write_ensemble(self.folder / "ensemble", members, n_folds=5))
        networks = Networks.of(ensemble, device=self.device.type)
        windows = WindowDataset(part, networks.sources, list(range(len(part.rows))))  # type: ignore[arg-type]
        batch = 8 if self.smoke else 256
        for turn in ("first", "second"):  # the first one warms up
            start = time.perf_counter()
            predict_runs(RowChunks(networks, windows, batch))
            spent = time.perf_counter() - start
            if turn == "second":
                self.note("inference, 5 + 5 networks", len(part.rows) / spent)

    def checks(self) -> None:
        """Compare what a CPU alone cannot."""
        torch.manual_seed(0)
        eeg = (30 * torch.randn(8, 10_000, 20)).half()
        eeg[0, :3000, 2] = float("nan")
        eeg[1, :, 5] = FULL_SCALE_UV
        for name, front_end, limit in (
            ("signals", EEGFrontEnd(), 1e-4),
            ("mel images", MelImage(), 1e-3),
        ):
            given = eeg if name == "signals" else eeg.transpose(1, 2).float()
            there = front_end.to(self.device)(given.to(self.device)).cpu()
            here = front_end.to("cpu")(given)
            error = float((there - here).abs().max() / here.abs().max())
            self.check(f"front-end of {name}, device against CPU", error < limit, f"{error:.1e} of the largest value")
        small = ["model=resnet_gru", "trainer.max_epochs=4", "model.filters=8", "model.width=16", "model.depth=2"]
        float32 = [*small, "trainer.precision=32-true"]
        first, second = (hash_of(self.train(where, *float32)) for where in ("once", "twice"))
        self.check("deterministic twice", first == second, f"{first[:12]}, {second[:12]}")
        self.kill("killed", *float32)
        resumed = hash_of(self.train("killed", *float32))
        self.check("killed and typed again", resumed == first, f"{resumed[:12]}, {first[:12]}")
        half = "16-mixed" if self.device.type == "cuda" else "32-true"
        run = self.train("half", *small, f"trainer.precision={half}")
        kl = json.loads((run / "metrics.json").read_text())["kl"]["all"]
        self.check(f"{half} without overflow", kl is not None, f"KL {kl}")
        ddp = hash_of(self.train("ddp", *float32, "+trainer.strategy=ddp"))
        self.check("DDP on one device", ddp == first, f"{ddp[:12]}, {first[:12]}")


def hash_of(run: Path) -> str:
    """Hash a run's weights."""
    return hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()


SECTIONS = ("alone", "input", "training", "inference", "checks")


def main() -> None:
    """Measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}{', smoke: sizes too small to mean anything' if options.smoke else ''}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, options.smoke, Path(folder))
        bench.data()
        for section in options.only:
            start = time.perf_counter()
            getattr(bench, section)()
            print(f"-- {section}: {time.perf_counter() - start:.0f} s", flush=True)
    if options.out:
        options.out.write_text(json.dumps({"device": name, "torch": torch.__version__, "found": bench.found}, indent=1))
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
