"""Compares every published number in trials/ with the text of the paper (arXiv 2505.22074).

Usage: python benchmarks/published.py paper.txt

The text is what a converter makes of the PDF: tables with tab-separated cells. Exit code 1 when a number differs or a
row is missing on either side.
"""

import re
import sys
from pathlib import Path

from sugar_search.search.pinned import load_table, tables
from sugar_search.training.dying_relu import study_of

MODELS = {"ResNet-18": "resnet18", "VGG-16": "vgg16", "Conv2NeXt": "conv2next", "Swin Transformer": "swin_t"}
ACTIVATIONS = {"swish": "silu", "relu(base)": "relu", "gelu(base)": "gelu", "b-silu": "bsilu"}
DATASETS = {("table1", "conv2next"): "cifar100", ("table1", "swin_t"): "tiny_imagenet_200"}
DATASETS |= {("table4", arch): "cifar10" for arch in ("resnet18", "vgg16")}
DATASETS |= {("table5", arch): "cifar100" for arch in ("resnet18", "vgg16")}

Key = tuple[str, str, str, bool]  # arch, dataset, surrogate with its parameter where the paper gives one, SUGAR


def key_of(name: str) -> str:
    """ "NeLU($\\alpha = 0.05$)" and "NeLU(0.05)" give "nelu 0.05"."""
    plain = re.sub(r"\\alpha|[$ =α]", "", name).lower()
    base, _, parameter = plain.partition("(")
    if not re.match(r"[\d.]+\)", parameter):
        return ACTIVATIONS.get(plain, plain)
    return f"{ACTIVATIONS.get(base, base)} {float(parameter[:-1]):g}"


def numbers(cell: str) -> tuple[float, float] | None:
    """Mean and deviation of "83.47 ± 0.62", None for a dash."""
    found = re.fullmatch(r"\$?([\d.]+) *(?:±|\\pm) *([\d.]+)\$?", cell.strip())
    return (float(found[1]), float(found[2])) if found else None


def of_paper(text: str, table: str) -> dict[Key, tuple[float, float]]:
    """The numbers of one table of the paper."""
    lines = text[text.index(f"Table {table[-1]}: ") :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Model"))
    rows = []
    for line in lines[start:]:
        if not line.strip():
            break
        rows.append(line.split("\t"))
    header, found, arch = rows[0], {}, ""
    for row in rows[1:]:
        arch = MODELS.get(row[0].strip(), arch)
        dataset = DATASETS[table, arch]
        if table == "table1":  # one row a model, one column a configuration
            for name, cell in zip(header[1:], row[1:], strict=True):
                sugar = key_of(name) != "gelu"
                found[arch, dataset, key_of(name), sugar] = numbers(cell)
            continue
        name, *cells = row if row[0].strip() not in MODELS and row[0].strip() else row[1:]
        for sugar, cell in zip((False, True), cells, strict=True):
            if pair := numbers(cell):
                # Plain ReLU is printed under non-SUGAR; it is the same with either.
                found[arch, dataset, key_of(name), sugar or key_of(name) == "relu"] = pair
    return found


def of_trials(table: str) -> dict[Key, tuple[float, float]]:
    """The numbers of one file of trials/."""
    found = {}
    for study in load_table(table).studies:
        for entry in study.entries:
            name = entry.surrogate.name or ""
            if name == "nelu":
                name += f" {dict(entry.surrogate.parameters)['alpha']:g}"
            found[study.arch, study.dataset, name, entry.sugar] = entry.published
    return found


METHODS = {"Symmetric (He init)*": "he", "RAI*": "rai", "B-SiLU": "bsilu"}


def cells_after(text: str, title: str) -> list[list[str]]:
    """The rows of a table whose first column names a function f_i, filled in where it is blank."""
    rows, function = [], ""
    for line in text[text.index(title) :].splitlines()[3:]:
        if "\t" not in line:
            break
        name, *rest = line.split("\t")
        function = f"f{found[1]}" if (found := re.match(r"\$f_(\d)", name)) else function
        rows.append([function, *rest])
    return rows


def of_paper_dying(text: str) -> dict[tuple[str, ...], float]:
    """Shares of Table 2 by function, method and category, and ends of ranges of Table 3."""
    found = {}
    for function, method, *shares in cells_after(text, "Table 2: "):
        for category, share in zip("ABCD", shares, strict=True):
            if share.strip() != "-":
                found[function, METHODS[method.strip()], category] = float(share)
    for function, category, cell in cells_after(text, "Table 3: "):
        if ends := re.findall(r"\d+\.\d+", cell):
            for end, value in zip(("low", "high"), ends, strict=True):
                found[function, category.strip("()"), end] = float(value)
    return found


def of_trials_dying() -> dict[tuple[str, ...], float]:
    """The same from trials/table2.toml."""
    found: dict[tuple[str, ...], float] = {}
    for function, target in study_of().targets.items():
        for method, shares in target.shares.items():
            found |= {(function, method, category): share for category, share in shares.items()}
        for category, ends in target.ranges.items():
            found |= {(function, category, end): value for end, value in zip(("low", "high"), ends, strict=True)}
    return found


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    compared = differing = 0
    for table in tables():
        paper, ours = of_paper(text, table), of_trials(table)
        for key in sorted({*paper, *ours}, key=str):
            pairs = zip(paper.get(key) or (None, None), ours.get(key) or (None, None), strict=True)
            for what, (printed, pinned) in zip(("mean", "deviation"), pairs, strict=True):
                compared += 1
                if printed != pinned:
                    differing += 1
                    print(f"{table} {key} {what}: paper {printed}, trials {pinned}")
        print(f"{table}: {len(paper)} rows in the paper, {len(ours)} in trials/")
    paper, ours = of_paper_dying(text), of_trials_dying()
    for key in sorted({*paper, *ours}):
        compared += 1
        if paper.get(key) != ours.get(key):
            differing += 1
            print(f"tables 2 and 3 {key}: paper {paper.get(key)}, trials {ours.get(key)}")
    print(f"tables 2 and 3: {len(paper)} numbers in the paper, {len(ours)} in trials/")
    print(f"{compared} numbers compared, {differing} differ")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
