"""Certificates of the shipped grammar and of every family: how many are proven, why not, and what they cost.

Admission (finite and |g| <= 1000 on the whole real line) of `--samples` surrogates of a grammar space, the full
certificate of the first `--full` admitted ones, and a table of the families beside published numbers. Times are of
one core and leave out parsing and building the tape, except where told.

    python benchmarks/certificates.py [--samples 10000] [--full 200] [--space grammar] [--seed 0]   about a minute
"""

import argparse
import random
import time
from collections import Counter, defaultdict

from sugar_search import catalog
from sugar_search.search.space import load_space
from sugar_search.symbolic.certificates.admission import Status, admission
from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.grammar.derivation import expression, formula, sample
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape

# What the literature prints: gain E[g(z)^2]/0.5, minimum at, maximum at.
PRINTED = {
    "selu": ("2.14", "", ""),
    "bsilu": ("1.70", "-0.0237 at -3.765", "1.2904 at 1.4915"),
    "elu": ("1.34", "", ""),
    "leakyrelu": ("1.00", "", ""),
    "nelu": ("1.00", "-0.006495 at -0.577", ""),
    "mish": ("0.96", "-0.1125 at -2.256", ""),
    "gelu": ("0.91", "-0.1289 at -1.414", ""),
    "silu": ("0.76", "-0.0998 at -2.399", ""),
}


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def spread(seconds):
    ordered = sorted(seconds)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9, 1.0)]
    return "median {:.2f} ms, 90 % {:.2f} ms, worst {:.1f} ms".format(*(1e3 * t for t in at))


def admissions(grammar, count, seed):
    """Draws, judges, prints; returns the admitted (formula, tape)."""
    rng = random.Random(seed)
    verdicts, examples = Counter(), defaultdict(list)
    seconds, drawing, admitted = [], 0.0, []
    for _ in range(count):
        (derivation, tape), cost = timed(draw, grammar, rng)
        drawing += cost
        verdict, cost = timed(admission, tape)
        seconds.append(cost)
        verdicts[verdict.status, verdict.reason] += 1
        if verdict.proven:
            admitted.append((derivation, tape))
        else:
            examples[verdict.status, verdict.reason].append(f"{formula(grammar, derivation)}: {verdict.detail}")
    for status in Status:
        share = sum(n for (s, _), n in verdicts.items() if s is status) / count
        print(f"  {status.value:<9} {share:8.2%}")
    for (status, reason), n in verdicts.most_common():
        if status is not Status.PROVEN:
            print(f"    {n:5} {status.value}, {reason}; {examples[status, reason][0]}")
    print(f"  {count / sum(seconds):.0f} admissions/s ({spread(seconds)})")
    print(f"  drawing, parsing and building the tape: {1e3 * drawing / count:.2f} ms each")
    return admitted


def draw(grammar, rng):
    derivation = sample(grammar, rng)
    return derivation, Tape.of(expression(grammar, derivation))


def certificates(grammar, admitted):
    causes, seconds, complete = Counter(), [], 0
    for _, tape in admitted:
        made, cost = timed(certificate, tape)
        seconds.append(cost)
        complete += not made.unproven
        causes.update(clause.split(" near x")[0] for clause in made.unproven)
    print(f"  full certificates: {len(admitted)}, {complete / max(1, len(admitted)):.1%} with every property proven")
    print(f"  {spread(seconds)}")
    for clause, n in causes.most_common(5):
        print(f"    {n:5} unproven: {clause}")


def place(extremum):
    return "" if extremum is None else f"{extremum.value} at {extremum.at or extremum.tail}"


def families():
    print(f"{'family':<17}{'admit ms':>9}{'full ms':>9} {'gain':<10}{'printed':<8} {'minimum':<28}{'printed':<22} "
          f"{'maximum':<26}{'printed':<20} unproven")  # fmt: skip
    for name in catalog.names("surrogates"):
        tape = surrogate(name).tape
        verdict, quick = timed(admission, tape)
        made, full = timed(certificate, tape)
        gain, low, high = PRINTED.get(name, ("", "", ""))
        print(f"{name:<17}{1e3 * quick:>9.2f}{1e3 * full:>9.1f} {made.gain!s:<10}{gain:<8} {place(made.minimum):<28}"
              f"{low:<22} {place(made.maximum):<26}{high:<20} {verdict.reason}{len(made.unproven)}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="Shares and times of certificates")
    parser.add_argument("--samples", type=int, default=10_000, help="surrogates to draw (default 10000)")
    parser.add_argument("--full", type=int, default=200, help="full certificates (default 200)")
    parser.add_argument("--space", default="grammar", help="a grammar space (default grammar)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    grammar = load_space(arguments.space).content.grammar
    certificate(surrogate("bsilu").tape)  # imports and constants
    print(f"{arguments.samples} samples of the space {arguments.space}, seed {arguments.seed}")
    admitted = admissions(grammar, arguments.samples, arguments.seed)
    certificates(grammar, admitted[: arguments.full])
    families()


if __name__ == "__main__":
    main()
