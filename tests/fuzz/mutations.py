"""Texts and files near valid ones, for hypothesis and for the fuzzer."""

import re

from hypothesis import strategies as st

from sugar_search import catalog

# The same examples on every machine, and no files left in the checkout.
REPEATABLE = {"deadline": None, "derandomize": True, "database": None}

NAMES = (
    "sigmoid tanh softplus exp erf normal_cdf normal_pdf atan sqrt abs sign log1p min max square recip where"
).split()
NUMBERS = "0 1 2 3 8 0.5 1.67 1e-5 1e9 1e-300 1/3 pi e 7.7 123456.789 0.3333333 1e400 9**9 0x1f 1_0 1j 00 .5 5.".split()
PIECES = [f"{name}(" for name in NAMES] + NUMBERS + ["x"] * 12 + list("()+-*/,><") * 2
PIECES += ["**", "**2", "**-0.5", "**0.33333", "**(1/3)", "**8", " if x > 0 else ", ">=", "<=", "x*x", "1 + ", ", x)"]
HARMFUL = ["__import__('os')", ".__class__", "[0]", "lambda: ", ":=", "f'{x}'", "#", "\n", "\x00", "=", "and", "\u2212"]

SEEDS = [
    "sigmoid(x) + (x + 1.67)*sigmoid(x)*(1 - sigmoid(x))",
    "where(x > 0, 1, 2*0.05*x/(1 + x**2)**2)",
    "normal_cdf(x) + x*normal_pdf(x)",
    "tanh(softplus(x)) + x*sigmoid(x)*(1 - tanh(softplus(x))**2)",
    "1 if x > 0 else 1.0507*1.6733*exp(x)",
    "min(1, max(0, 0.5 + x/6))*erf(abs(x)**0.5)",
    "recip(square(1 + 25*abs(x)))",
    "(1 + log1p(x*x))**-1.7*atan(3*x)/pi",
    "bsilu(alpha=1.2)",
]

soup = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
wild = st.lists(st.sampled_from(PIECES + HARMFUL), max_size=25).map("".join)
letters = st.text("x()+-*/.,<>=0123456789e_ \t\nsigmoidtanhwhere'\"[]{}:;@#\\\x00αｘ−", max_size=120)


EXPONENTS = "2 3 8 -1 -2 -8 0.5 -0.5 (1/3) 1.7 7.7 0 -7.9 1e-9 0.33333 7.12345 0.12345 (5/2) pi (-e)".split()
CONSTANTS = "0 1 2 6 0.5 1.67 1e-5 1e7 1e-300 1/3 pi e 10.3438 1234567.123456789 0.000123456789 4096".split()
CONSTANTS += ["3.141592653589793238462643383279"]


def tree(rng, depth):
    """A well-formed formula, wilder than any that a person writes."""
    if depth <= 0 or rng.random() < 0.12:
        return "x" if rng.random() < 0.55 else rng.choice(CONSTANTS)
    a, b = tree(rng, depth - 1), tree(rng, depth - 1)
    match rng.choices(("pair", "call", "power", "minus", "order", "where", "if"), (40, 20, 15, 5, 7, 10, 3))[0]:
        case "pair":
            return f"({a}){rng.choice('++-**/')}({b})"
        case "call":
            return f"{rng.choice([name for name in NAMES if name not in ('min', 'max', 'where')])}({a})"
        case "power":
            return f"({a})**{rng.choice(EXPONENTS) if rng.random() < 0.8 else f'({tree(rng, 1)})'}"
        case "minus":
            return f"-({a})"
        case "order":
            return f"{rng.choice(('min', 'max'))}({a}, {b})"
    left, right = tree(rng, depth - 2), tree(rng, depth - 2)
    condition = f"{left} {rng.choice(('>', '<', '>=', '<='))} {right}"
    return f"where({condition}, {a}, {b})" if rng.random() < 0.8 else f"({a} if {condition} else {b})"


@st.composite
def mutated(draw, seeds=tuple(SEEDS), pieces=tuple(PIECES + HARMFUL)):
    """A valid text after a few cuts, repeats and insertions."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        match draw(st.sampled_from(["cut", "repeat", "insert", "wrap"])):
            case "cut":
                text = text[:at] + text[to:]
            case "repeat":
                text = text[:to] + text[at:to] * draw(st.integers(1, 6)) + text[to:]
            case "insert":
                text = text[:at] + draw(st.sampled_from(pieces)) + text[at:]
            case "wrap":
                text = f"{text[:at]}{draw(st.sampled_from(NAMES))}({text[at:to]}){text[to:]}"
    return text[:4000]


def spaces():
    """The text of every shipped search space."""
    return [path.read_text(encoding="utf-8") for path in catalog.find("spaces").values()]


TOML = ["[rules]\n", "[constants]\n", "kind = ", '"grammar"', '"families"', "start", "low = ", "1e999", "nan", "inf"]
TOML += [
    "[[",
    "]]",
    "{",
    "}",
    '"""',
    "'''",
    "\n",
    "=",
    "-1",
    "99999999999999999999",
    "1979-05-27",
    "\x00",
    "[]",
    "true",
]
TOML += ['"x"', '"where(x > 0, step, step)"', '"step + "', '"__import__(1)"', '"1/0"', '"9**9**9"', "max_depth = 12\n"]


def loosened(text):
    """A space's text without its comments, so that cuts hit what counts."""
    return re.sub(r"(?m)\s+#.*$", "", text)
