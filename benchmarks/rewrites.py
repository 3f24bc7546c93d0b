"""Random grammar formulas rewritten by identities, and how many are known again; a part of screening.py."""

import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import sympy
from sympy import Rational

from sugar_search.errors import FormulaError
from sugar_search.symbolic import functions as f
from sugar_search.symbolic import second_look
from sugar_search.symbolic.canonical import canonical
from sugar_search.symbolic.fingerprint import Known, alike, fingerprint
from sugar_search.symbolic.grammar.derivation import expression
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.primitives import number
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text


def shares(counter, n):
    return ", ".join(f"{name} {k / n:.2%}" for name, k in counter.most_common())


@dataclass(eq=False)
class Subject:
    """An expression with what `Known` asks for; the rewritten spellings need not pass a float32 probe."""

    derivative: sympy.Expr

    @cached_property
    def canonical(self):
        return canonical(self.derivative)

    @cached_property
    def tape(self):
        return Tape.of(self.derivative)


def _pick(rng, kind, *forms):
    """Replaces every call of a function by one of the forms."""
    return lambda e: e.replace(lambda t: isinstance(t, kind), lambda t: rng.choice(forms)(*t.args))


def rules(rng):
    half, root = Rational(1, 2), sympy.sqrt(2)
    return {
        "sigmoid as tanh": _pick(rng, f.sigmoid, lambda u: half + f.tanh(u / 2) / 2),
        "sigmoid as 1/(1 + exp)": _pick(rng, f.sigmoid, lambda u: 1 / (1 + sympy.exp(-u))),
        "sigmoid as exp/(1 + exp)": _pick(rng, f.sigmoid, lambda u: sympy.exp(u) / (1 + sympy.exp(u))),
        "1 - sigmoid(-u)": _pick(rng, f.sigmoid, lambda u: 1 - f.sigmoid(-u)),
        "tanh as sigmoid": _pick(rng, f.tanh, lambda u: 2 * f.sigmoid(2 * u) - 1, lambda u: 1 - 2 * f.sigmoid(-2 * u)),
        "tanh as exp": _pick(rng, f.tanh, lambda u: (sympy.exp(u) - sympy.exp(-u)) / (sympy.exp(u) + sympy.exp(-u))),
        "normal_cdf as erf": _pick(rng, f.normal_cdf, lambda u: (1 + sympy.erf(u / root)) / 2),
        "1 - normal_cdf(-u)": _pick(rng, f.normal_cdf, lambda u: 1 - f.normal_cdf(-u)),
        "normal_pdf as exp": _pick(rng, f.normal_pdf, lambda u: sympy.exp(-u * u / 2) / sympy.sqrt(2 * sympy.pi)),
        "softplus as log1p(exp)": _pick(rng, f.softplus, lambda u: f.log1p(sympy.exp(u))),
        "abs as max": _pick(rng, f.absolute, lambda u: f.where(2 * u, u, -u), lambda u: u * f.signum(u)),
        "exp(-u) as 1/exp(u)": _pick(rng, sympy.exp, lambda u: 1 / sympy.exp(-u), lambda u: sympy.exp(u / 2) ** 2),
        "atan(-u)": _pick(rng, sympy.atan, lambda u: -sympy.atan(-u)),
        "where as a sum": _pick(
            rng, f.where, lambda d, u, v: f.where(d, u, 0) + f.where(d, 0, v), lambda d, u, v: v + f.where(d, u - v, 0)
        ),
        "where, condition scaled": _pick(rng, f.where, lambda d, u, v: f.where(sympy.expand(3 * d), u, v)),
        "where, condition flipped": _pick(rng, f.where, _flipped),
        "expanded": lambda e: sympy.expand(e, power_exp=False),
        "common denominator": lambda e: sympy.together(e),
        "split fraction": lambda e: sympy.expand(sympy.together(e) * (1 + f.X**2)) / (1 + f.X**2),
    }


def _flipped(d, u, v):
    """A where that swaps its branches; the same function only where both agree at the boundary, so others stay."""
    slope, rest = d.coeff(f.X, 1), d.coeff(f.X, 0)
    if slope.is_Rational and slope != 0 and sympy.expand(d - slope * f.X - rest) == 0:
        boundary = number(-rest / slope)
        if abs(number(u, boundary) - number(v, boundary)) < 1e-40:
            return f.where(-d, v, u)
    return f.where(d, u, v)


def identities(grammar, derivations, wanted, seed):
    rng = random.Random(seed)
    named, found, missed, known, began = rules(rng), Counter(), [], Known(), time.perf_counter()
    originals = [Subject(expression(grammar, d)) for d in derivations[: max(1, wanted // 2)]]
    for which, original in enumerate(originals):
        known.add(original, which)
    done, tries, used = 0, 0, Counter()
    looked, seconds = 0.0, []
    while done < wanted and tries < 50 * wanted:
        tries += 1
        which = rng.randrange(len(originals))
        e, applied = originals[which].derivative, []
        for name in rng.sample(list(named), rng.randint(1, 3)):
            changed = named[name](e)
            if changed != e:
                e, applied = changed, [*applied, name]
        try:
            again = parse(to_text(e))
        except (FormulaError, ValueError):
            continue  # too long to be a formula, say
        if not applied or again == originals[which].derivative:
            continue
        done += 1
        used.update(applied)
        subject = Subject(again)
        if known.find(originals[which]) == known.find(subject):
            by = "canonical form" if subject.canonical == originals[which].canonical else "fingerprint"
            found[by] += 1
        else:
            missed.append((applied, to_text(originals[which].derivative), to_text(again)))
        prints = fingerprint(subject.tape)
        start = time.perf_counter()
        near = list(known.like(prints))
        looked += time.perf_counter() - start
        second_look.look.cache_clear()
        start = time.perf_counter()
        if any(alike(tape, subject.tape) for tape, _ in near):
            seconds.append(time.perf_counter() - start)
    print(
        f"identities: {sum(found.values())} of {done} rewritten formulas found again ({shares(found, max(done, 1))}), "
        f"{len(missed)} missed; a look-up among {len(originals)} takes {1e6 * looked / max(done, 1):.0f} us "
        f"with the fingerprint at hand; {time.perf_counter() - began:.0f} s"
    )
    if seconds:
        print(f"  second look: median {1e3 * statistics.median(seconds):.2f} ms, longest {1e3 * max(seconds):.2f} ms")
    print("  " + ", ".join(f"{name} {n}" for name, n in used.most_common()))
    for applied, one, other in missed[:5]:
        print(f"  missed ({', '.join(applied)}): {one}   ==   {other}")
