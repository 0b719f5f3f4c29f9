"""How good, how fast and how large the blending is, on a stand-in for 33 real tables of 21,490 rows.

python benchmarks/blend.py                    # 33 x 21,490: every method's nested score, processor time, peak memory
python benchmarks/blend.py --population all
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

from hbac.ensembling.methods import METHODS, SINGLE, best_of, fit_nested
from hbac.ensembling.nested import BlendData
from hbac.ensembling.summary import calibrated_kl
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import population_of
from hbac.predictions.foreign import read_table
from hbac.predictions.join import join_tables
from tests.ensembling.standin import make_standin


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts in KB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=33)
    parser.add_argument("--rows", type=int, default=21_490)
    parser.add_argument("--population", default="many_votes", choices=["many_votes", "few_votes", "all"])
    parser.add_argument("--truth", default="latent", choices=["latent", "convex", "log_linear"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="all", choices=["all", *METHODS])
    parser.add_argument("--tables", nargs="*", default=[], help="real tables; then the stand-in isn't used")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.members, arguments.rows = 3, 300

    start = time.process_time()
    if arguments.tables:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = join_tables(read_table(path) for path in arguments.tables)
    else:
        known = make_standin(arguments.rows, arguments.members, truth=arguments.truth, seed=arguments.seed)
    counts = population_of(arguments.population).contains(known.n_votes)
    data = BlendData(known.probs, known.targets, known.fold, counts=counts)
    n_members, n_rows, _ = data.probs.shape
    print(f"{n_members} members x {n_rows:,} rows, {counts.sum():,} count; {time.process_time() - start:.1f} s to load")
    counted = data.counted
    raw = [kl_rows(counted.targets, probs).mean() for probs in counted.probs]
    start = time.process_time()
    calibrated = calibrated_kl(data)[:, counts].mean(axis=1)
    spent = time.process_time() - start
    print(f"best member {min(raw):.4f}, median {sorted(raw)[n_members // 2]:.4f}; ", end="")
    print(f"calibrated {min(calibrated):.4f}, median {sorted(calibrated)[n_members // 2]:.4f}: {spent:.1f} s")

    print(f"{'method':18}{'nested':>9}{'in-sample':>11}{'CPU s':>9}{'peak GB':>9}  setting")
    for method in [*SINGLE, "auto"] if arguments.method == "all" else [arguments.method]:
        start = time.process_time()
        fits = fit_nested(data, method)
        best = best_of(data, fits)
        spent = time.process_time() - start
        print(
            f"{method:18}{best.nested_kl:9.4f}{best.in_sample_kl:11.4f}{spent:9.1f}{peak_gb():9.2f}"
            f"  {best.setting} {best.name if method == 'auto' else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
