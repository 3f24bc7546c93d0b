"""The paper's tables as studies: every configuration with every seed, nothing proposed, every run tested."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sugar_search.errors import InputError, UnknownNameError
from sugar_search.search.pinned import PinnedStudy, Table, load_table, tables
from sugar_search.search.plan import PAPER_SEEDS, Plan, build_plan, finish_plan
from sugar_search.training.recipe import Recipe

__all__ = ["PROTOCOLS", "find_table", "table_plans"]

PROTOCOLS = ("paper", "validation")


def find_table(name: str) -> Table:
    """The table of the paper called `name` ("table4").

    Raises:
        UnknownNameError: no file in trials/ holds such a table.
    """
    if name not in tables():
        raise UnknownNameError.of("what to reproduce", name, tables())
    return load_table(name)


def table_plans(
    table: Table,
    *,
    archs: Collection[str] = (),
    surrogates: Collection[str] = (),
    protocol: Literal["paper", "validation"] = "paper",
    epochs: int | None = None,
    repeats: int | None = None,
    out: Path = Path("results"),
    storage: str | None = None,
    **options: Any,
) -> list[tuple[PinnedStudy, Plan]]:
    """One plan per study of `table`, beside what the paper published for it.

    Args:
        table: of the paper.
        archs: names of architectures to keep; empty for all. A later call with more goes on in the same studies.
        surrogates: names of surrogates to keep; empty for all.
        protocol: "paper" selects epochs as the paper does, by the test set where it has no validation set;
            "validation" cuts a validation set out of the training samples there.
        epochs: instead of the paper's.
        repeats: seeds per configuration, the first of the paper's list; None for all of them.
        out: as in `build_plan`.
        storage: as in `build_plan`.
        **options: engine, workers, threads, gpus, loaders, compile, data_dir, offline of `build_plan`.

    Raises:
        InputError: an option breaks a rule, or nothing of the table is left.
    """
    if protocol not in PROTOCOLS:
        raise InputError("--protocol must be paper or validation", protocol, "choose one")
    if tuple(table.seeds) != PAPER_SEEDS:
        raise InputError("the seeds of a table must be the paper's", table.seeds, f"write {list(PAPER_SEEDS)}")
    chosen = [kept for study in table.studies if (kept := _keep(study, archs, surrogates)).entries]
    _known("--arch", archs, {study.arch for study in table.studies})
    _known("--surrogate", surrogates, {str(e.surrogate.name) for s in table.studies for e in s.entries})
    if not chosen:
        raise InputError("a part of the table must remain", f"{list(archs)}, {list(surrogates)}", "name fewer filters")
    found = []
    for study in chosen:
        plan = build_plan(
            arch=study.arch,
            dataset=study.dataset,
            recipe=study.recipe,
            epochs=study.epochs if epochs is None else epochs,
            repeats=len(table.seeds) if repeats is None else repeats,
            trials=0,
            confirm=0,
            space="families",
            objective="accuracy",
            out=out,
            storage=storage,
            **options,
        )
        recipe = plan.recipe if protocol == "validation" else _as_the_paper(plan.recipe, study)
        plan = replace(plan, baselines=study.entries, table=table.name, recipe=recipe)
        found.append((study, finish_plan(plan, None, storage, out)))
    return found


def _keep(study: PinnedStudy, archs: Collection[str], surrogates: Collection[str]) -> PinnedStudy:
    """`study` with the entries that the filters keep."""
    entries = [e for e in study.entries if not surrogates or e.surrogate.name in surrogates]
    return replace(study, entries=tuple(entries) if not archs or study.arch in archs else ())


def _known(option: str, given: Sequence[str] | Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise UnknownNameError.of(option, name, known)


def _as_the_paper(recipe: Recipe, study: PinnedStudy) -> Recipe:
    """`recipe` with the paper's own way to select an epoch, where a search must not go that way."""
    if study.validation is None:
        return recipe
    validation = recipe.validation.model_copy(update={"split": study.validation, "share": None})
    return recipe.model_copy(update={"validation": validation})
