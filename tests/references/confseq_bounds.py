"""Writes confseq_bounds.json: what confseq 0.0.11 says at seeded random inputs. Tests compare our bounds with it.

confseq comes as C++ that its package does not build any more, and tests need no compiler: so its answers stand in a table. To write it again, make the
module `boundaries` from src/confseq of its source package, with the header-only packages libboost-headers and pybind11, and have it importable:

    g++ -std=c++17 -O1 -shared -fPIC -I BOOST -I PYBIND11 $(python3-config --includes) boundaries.cpp -o boundaries$(python3-config --extension-suffix)
"""

import json
import math
from pathlib import Path

import numpy as np

SEED = 20_261
CASES = 200
V_AT_RHO_HALF = 0.5 * (-2 * math.log(0.1) + math.log1p(-2 * math.log(0.1)))
"""The `v_opt` for which confseq's beta mixture around 1/2, one-sided with its alpha_opt of 0.05, is Beta(1/2, 1/2)."""


def main() -> None:
    """Inputs from a seed, answers from confseq."""
    import boundaries

    rng = np.random.default_rng(SEED)
    normal, rare = [], []
    for _ in range(CASES):
        alpha, horizon = float(10 ** rng.uniform(-4, math.log10(0.05))), float(10 ** rng.uniform(1.5, 5))
        users = int(horizon * 10 ** rng.uniform(-1, 1)) + 2
        bound = float(boundaries.normal_mixture_bound(users, alpha, horizon, alpha, True)) / users
        normal.append({"alpha": alpha, "horizon": horizon, "users": users, "bound": bound})
        users = int(rng.integers(8, 400))
        events = int(rng.integers(max(0, users // 2 - 5 * math.isqrt(users)), max(1, users // 2 - math.isqrt(users))))
        evidence = float(boundaries.beta_binomial_log_mixture(users / 2 - events, users / 4, V_AT_RHO_HALF, 0.5, 0.5, 0.05, True))
        rare.append({"users": users, "events": events, "log_evidence": evidence})
    parts = {name: ",\n".join(map(json.dumps, cases)) for name, cases in (("normal", normal), ("beta_binomial", rare))}
    text = ",\n".join(f'"{name}": [\n{lines}\n]' for name, lines in parts.items())
    Path(__file__).with_suffix(".json").write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
