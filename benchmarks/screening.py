"""Screening, certificates and one-function-one-id, measured in one run beside sympy.

1. Surrogates screened per second on one core (generate, check finite and bounded, remove duplicates), by phase, beside
   sympy.simplify and the plain sympy route (derive, parse, canonical form, tape, probe) on a sample of the same draws.
2. Admission and full certificate of a sample of survivors.
3. False merges: pairs that screening merged although their derivations differ, against 50-digit arithmetic at random
   points, near 0, in the tails, and where they look most unlike each other in float64.
4. Random grammar formulas rewritten by identities: how many are found again by canonical form or fingerprint.

    OPENBLAS_NUM_THREADS=1 python benchmarks/screening.py [--count N] [--pairs N] [--identities N] [--workers N]
"""

import argparse
import multiprocessing
import random
import signal
import statistics
import sys
import time
from collections import Counter
from functools import lru_cache

import mpmath
import numpy as np
import sympy
from rewrites import identities, shares

from sugar_search.search.space import load_space
from sugar_search.symbolic.canonical import canonical
from sugar_search.symbolic.certificates.admission import admission
from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.fingerprint import TOLERANCE
from sugar_search.symbolic.grammar.derivation import Derivation, formula
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.probe import inadmissible
from sugar_search.symbolic.screening.confirm import programs
from sugar_search.symbolic.screening.screen import SAME_KEY, screen
from sugar_search.symbolic.tape import Tape

SIMPLIFY_LIMIT = 10  # seconds


def median_ms(function, subjects):
    times = []
    for subject in subjects:
        began = time.perf_counter()
        function(subject)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), sum(times) / len(times)


def throughput(grammar, count, seed):
    screen(grammar, 2000, np.random.default_rng(seed))  # imports and first tapes
    began, busy = time.perf_counter(), time.process_time()
    result = screen(grammar, count, np.random.default_rng(seed))
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    counts = result.counts()
    n = counts["generated"]
    print(
        f"screened  {n:,} surrogates in {seconds:.2f} s: {n / seconds:,.0f}/s on one core "
        f"({n / busy:,.0f}/s of the processor's time; the difference is other work on the machine)"
    )
    for name in ("invalid", "duplicate_key", "duplicate_fingerprint", "survivors"):
        print(f"  {name.replace('_', ' by '):<24}{counts[name]:>10,}  {counts[name] / n:7.2%}")
    print(f"  beyond max_size, redrawn{counts['too_large']:>10,}")
    for phase, took in result.seconds.items():
        print(f"  {phase:<24}{1e6 * took / n:10.3f} us each  {took / seconds:6.1%}")
    return result, seconds / n


def beside_sympy(grammar, derivations, each):
    texts = [formula(grammar, d) for d in derivations]
    expressions = [parse(t) for t in texts]
    tapes = [Tape.of(e) for e in expressions]
    canonical.cache_clear()
    rows = {
        "formula and parse": median_ms(lambda d: parse(formula(grammar, d)), derivations),
        "canonical form": median_ms(canonical, expressions),
        "tape": median_ms(Tape.of, expressions),
        "probe": median_ms(inadmissible, tapes),
    }
    print(f"plain sympy route, {len(texts)} survivors (median and mean, ms)")
    for name, (middle, mean) in rows.items():
        print(f"  {name:<24}{middle:10.3f}{mean:10.3f}")
    total = sum(mean for _, mean in rows.values())
    print(f"  {'together':<24}{'':10}{total:10.3f}   screening takes {1000 * total / (1e6 * each):,.0f} times less")
    few, late = expressions[:40], []

    def stop(*_):
        raise TimeoutError

    def simplify(e):
        signal.alarm(SIMPLIFY_LIMIT)
        try:
            sympy.simplify(e)
        except TimeoutError:
            late.append(e)
        finally:
            signal.alarm(0)

    signal.signal(signal.SIGALRM, stop)
    middle, mean = median_ms(simplify, few)
    print(
        f"sympy.simplify, {len(few)} of them: median {middle:.1f} ms, mean {mean:.1f} ms "
        f"({len(late)} stopped at {SIMPLIFY_LIMIT} s): screening takes {1000 * middle / (1e6 * each):,.0f} times less"
    )
    return tapes


def certificates(tapes, full):
    began = time.perf_counter()
    verdicts = [admission(tape) for tape in tapes]
    seconds = time.perf_counter() - began
    by = Counter(str(v.status.value) for v in verdicts)
    print(f"admission of {len(tapes)} survivors: {len(tapes) / seconds:,.0f}/s; " + shares(by, len(tapes)))
    reasons = Counter(v.reason for v in verdicts if v.reason)
    if reasons:
        print("  " + shares(reasons, len(tapes)))
    some = [tape for tape, v in zip(tapes, verdicts) if v.status.value == "proven"][:full]
    if not some:
        return
    middle, mean = median_ms(certificate, some)
    print(f"full certificate of {len(some)}: median {middle:.0f} ms, mean {mean:.0f} ms")


# False merges -------------------------------------------------------------------------------------------------------

_STATE = {}


def _start(grammar_name, seed):
    grammar = load_space(grammar_name).content.grammar
    rng = np.random.default_rng(seed)
    tails = 10 ** rng.uniform(0.9, 3.5, 200)
    dense = np.sort(np.concatenate([rng.uniform(-8, 8, 4000), tails, -tails, [0.0]]))
    _STATE.update(grammar=grammar, tapes=programs(grammar), dense=dense)
    mpmath.mp.dps = 50


def _exact(d: Derivation, x):
    _, tape = _STATE["tapes"][d.rule, d.index]
    inputs = {
        f"_{i}": _exact(child, x) if isinstance(child, Derivation) else mpmath.mpf(repr(child))
        for i, child in enumerate(d.children)
    }
    return tape.mpmath(x, 50, inputs)


def _float(d: Derivation, x):
    _, tape = _STATE["tapes"][d.rule, d.index]
    inputs = {
        f"_{i}": _float(child, x) if isinstance(child, Derivation) else np.array(child)
        for i, child in enumerate(d.children)
    }
    return tape.numpy(x, inputs)


@lru_cache(maxsize=20_000)
def _leader(d: Derivation, seed: int):
    rng = random.Random(seed)
    points = [rng.gauss(0, 2), rng.gauss(0, 2), rng.uniform(-4, 4), rng.choice([-1, 1]) * 10 ** rng.uniform(-8, -2)]
    points += [10 ** rng.uniform(0.6, 3.5), -(10 ** rng.uniform(0.6, 3.5))]
    return points, [_exact(d, x) for x in points], _float(d, _STATE["dense"])


def _compare(pair):
    """Largest difference of a merged pair over max |g|."""
    one, other, seed = pair
    points, values, dense = _leader(other, seed)
    mine = _float(one, _STATE["dense"])
    scale = float(np.abs(dense).max())
    worst = float(_STATE["dense"][int(np.argmax(np.abs(mine - dense)))])
    errors = [abs(_exact(one, x) - v) for x, v in zip(points, values)]
    errors.append(abs(_exact(one, worst) - _exact(other, worst)))
    return float(max(errors)) / scale


def false_merges(space, grammar, wanted, workers, seed):
    began, pairs, by_key, draws = time.perf_counter(), [], 0, 0
    while len(pairs) < wanted:
        result = screen(grammar, 1_000_000, np.random.default_rng([seed, draws]))
        draws += 1_000_000
        merged = list(result.merged())
        made = result.derivations([i for pair in merged for i in pair])
        before = len(pairs)
        for one, other in merged:
            if made[one] != made[other] and len(pairs) < wanted:
                pairs.append((made[one], made[other], other % 1000))
                by_key += result.verdicts[one] == SAME_KEY
        if len(pairs) == before:
            break
    if not pairs:
        print("false merges: no pair was merged")
        return
    pairs.sort(key=lambda p: (repr(p[1]), p[2]))  # leaders together, so that their values are computed once
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start, (space, seed)) as pool:
        errors = np.array(pool.map(_compare, pairs, chunksize=250))
    bad = np.flatnonzero(~(errors <= TOLERANCE))
    print(
        f"false merges: {len(bad)} of {len(pairs):,} merged pairs with different derivations (from {draws:,} draws; "
        f"{by_key:,} by key, {len(pairs) - by_key:,} by fingerprint); largest difference {errors.max():.1e} max |g|; "
        f"{time.perf_counter() - began:.0f} s"
    )
    for i in bad[:5]:
        print(f"  {errors[i]:.1e}  {formula(grammar, pairs[i][0])}   !=   {formula(grammar, pairs[i][1])}")


def main():
    parser = argparse.ArgumentParser(description="Screening, certificates and merges, measured")
    parser.add_argument("--space", default="grammar", help="a search space of kind grammar (default grammar)")
    parser.add_argument("--count", type=int, default=1_000_000, help="surrogates screened for the timing")
    parser.add_argument("--sample", type=int, default=500, help="survivors for the sympy route and admission")
    parser.add_argument("--full", type=int, default=100, help="full certificates")
    parser.add_argument("--pairs", type=int, default=100_000, help="merged pairs compared in 50 digits")
    parser.add_argument("--identities", type=int, default=1000, help="rewritten formulas")
    parser.add_argument("--workers", type=int, default=2, help="processes of the 50-digit comparison")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    grammar = load_space(arguments.space).content.grammar
    print(
        f"space {arguments.space}; Python {sys.version.split()[0]}, numpy {np.__version__}, sympy {sympy.__version__}"
    )
    result, each = throughput(grammar, arguments.count, arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    chosen = np.sort(rng.choice(result.survivors, min(arguments.sample, len(result.survivors)), replace=False))
    derivations = list(result.derivations(chosen).values())
    tapes = beside_sympy(grammar, derivations, each)
    certificates(tapes, arguments.full)
    if arguments.identities:
        identities(grammar, derivations, arguments.identities, arguments.seed)
    if arguments.pairs:
        false_merges(arguments.space, grammar, arguments.pairs, arguments.workers, arguments.seed)


if __name__ == "__main__":
    main()
