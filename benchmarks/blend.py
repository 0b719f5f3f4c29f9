"""How good, how fast and how large the blending is, on a stand-in for 33 real tables of 21,490 rows.

python benchmarks/blend.py                    # 33 x 21,490: every method's nested score, seconds, peak memory
python benchmarks/blend.py --members 100 --rows 100000 --method convex
python benchmarks/blend.py --tables a.parquet b.parquet …    # the same on real out-of-fold tables
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the stand-in lives beside the tests

from hbac.ensembling.methods import COMBINED, SINGLE
from hbac.ensembling.nested import BlendData, FoldFits, combine
from hbac.evaluation.metric import kl_rows
from hbac.predictions.foreign import read_table
from hbac.predictions.join import join_tables
from tests.ensembling.standin import make_standin


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts in KB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=33)
    parser.add_argument("--rows", type=int, default=21_490)
    parser.add_argument("--truth", default="latent", choices=["latent", "convex", "log_linear", "artefacts"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="all", choices=["all", *SINGLE])
    parser.add_argument("--tables", nargs="*", default=[], help="real tables; then the stand-in isn't used")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.members, arguments.rows = 3, 300

    start = time.perf_counter()
    if arguments.tables:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            joined = join_tables(read_table(path) for path in arguments.tables)
        data = BlendData(joined.probs, joined.targets, joined.fold)
    else:
        standin = make_standin(arguments.rows, arguments.members, truth=arguments.truth, seed=arguments.seed)
        data = BlendData(standin.probs, standin.targets, standin.fold)
        print(f"score of who knows the truth: {standin.floor:.4f}")
    print(f"{data.probs.shape[0]} members x {data.probs.shape[1]:,} rows, {time.perf_counter() - start:.1f} s to load")
    print(f"best member {min(kl_rows(data.targets, probs).mean() for probs in data.probs):.4f}")

    print(f"{'method':18}{'nested':>9}{'in-sample':>11}{'seconds':>9}{'peak GB':>9}  setting")
    fits: dict[str, FoldFits] = {}
    begin = time.perf_counter()
    for name in SINGLE if arguments.method == "all" else [arguments.method]:
        start = time.perf_counter()
        fits[name] = FoldFits(data, SINGLE[name]())
        show(fits[name].result(), time.perf_counter() - start)
    if arguments.method == "all":
        start = time.perf_counter()
        show(combine("combined", [fits[kind.name] for kind in COMBINED]), time.perf_counter() - start)
        print(f"method=auto is all of these: {time.perf_counter() - begin:.1f} s")


def show(fit, seconds: float) -> None:
    print(
        f"{fit.name:18}{fit.nested_kl:9.4f}{fit.in_sample_kl:11.4f}{seconds:9.1f}{peak_gb():9.2f}  {fit.setting}",
        flush=True,
    )


if __name__ == "__main__":
    main()
