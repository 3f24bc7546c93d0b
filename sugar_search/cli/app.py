"""The root command, which is the search itself, and its subcommands."""

from pathlib import Path
from typing import Annotated

import typer

from sugar_search.cli.export import export
from sugar_search.cli.list import list_parts
from sugar_search.cli.reproduce import reproduce
from sugar_search.cli.show import show
from sugar_search.errors import InputError

__all__ = ["app"]

app = typer.Typer(
    name="sugar-search",
    help="Search surrogate derivatives for ReLU networks: ReLU forward, a smooth derivative backward.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("list")(list_parts)
# A formula may start with a minus sign, so these take what looks like an unknown option as text.
app.command("show", context_settings={"ignore_unknown_options": True})(show)
app.command("export")(export)
app.command("reproduce")(reproduce)


def Opt(help: str, *names: str) -> typer.models.OptionInfo:
    """An option that does not show its default twice."""
    return typer.Option(*names, help=help, show_default=True)


@app.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    arch: Annotated[str | None, Opt("Architecture (see: list archs), or package.module:callable.")] = None,
    dataset: Annotated[str | None, Opt("Dataset (see: list datasets), or package.module:callable.")] = None,
    data_dir: Annotated[Path, Opt("Folder where datasets lie and are downloaded to.")] = Path("data"),
    offline: Annotated[bool, Opt("Never download a dataset.", "--offline")] = False,
    sites: Annotated[
        str | None, Opt("Kinds of activation to replace: relu, gelu, silu, leakyrelu, relu6. [default: the arch's]")
    ] = None,
    space: Annotated[str, Opt("Search space: a name (see: list spaces) or a .toml file.")] = "mixed",
    trials: Annotated[
        int | None, Opt("Proposals in the whole study, baselines excluded. [default: 50, or no limit]")
    ] = None,
    time_budget: Annotated[str | None, Opt("Time for this sitting: 90s, 7m, 1h30m.")] = None,
    epochs: Annotated[int | None, Opt("Epochs per run, instead of the recipe's.")] = None,
    recipe: Annotated[
        str | None, Opt("Recipe: a name (see: list recipes) or a .toml file. [default: the arch's or dataset's]")
    ] = None,
    seed: Annotated[int, Opt("Seed of the search; runs use the paper's seeds 1, 10, 20, 25, 42.")] = 0,
    repeats: Annotated[int, Opt("Seeds per baseline, and per proposal that stays in the race.")] = 1,
    confirm: Annotated[int, Opt("Fresh seeds on which the finalists are compared at the end; 0 for none.")] = 3,
    sampler: Annotated[str, Opt("How proposals are made: tpe or random.")] = "tpe",
    objective: Annotated[
        str | None, Opt("accuracy, loss, sparsity, or several with commas; the first ranks. [default: the recipe's]")
    ] = None,
    engine: Annotated[str, Opt("Where runs execute: local or ray.")] = "local",
    workers: Annotated[
        int | None, Opt("Runs at a time; 0 runs them in this process. [default: one per core or GPU]")
    ] = None,
    threads_per_trial: Annotated[int, Opt("CPU threads per run; part of what identifies a study.")] = 1,
    gpus_per_trial: Annotated[float | None, Opt("GPUs per run, a share such as 0.25 too. [default: 1 if any]")] = None,
    loader_workers: Annotated[
        int | None, Opt("Processes per run that prepare images, where the recipe needs them. [default: spare cores]")
    ] = None,
    compile: Annotated[bool, Opt("Run networks through torch.compile.", "--compile")] = False,
    storage: Annotated[str | None, Opt("Optuna storage URL. [default: SQLite in the results folder]")] = None,
    study: Annotated[str | None, Opt("Name of the study. [default: made from what identifies it]")] = None,
    out: Annotated[Path, Opt("Folder that holds the results folders.")] = Path("results"),
    baselines: Annotated[bool, Opt("Train the paper's surrogates first.")] = True,
    as_json: Annotated[bool, Opt("Print one JSON object per event.", "--json")] = False,
    version: Annotated[bool, Opt("Print the version and exit.")] = False,
) -> None:
    """Search surrogate derivatives for ReLU networks: ReLU forward, a smooth derivative backward.

    Example: sugar-search --arch resnet18 --dataset digits --time-budget 7m

    The paper's surrogates are trained first, then proposals. Run the same command again to resume a study.
    """
    given = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if context.invoked_subcommand is not None:
        if given:
            option = "--json" if given[0] == "as_json" else "--" + given[0].replace("_", "-")
            rule = f"options before the command {context.invoked_subcommand!r} belong to the search"
            raise InputError(rule, option, "put the command's own options after it")
        return
    if version:
        from sugar_search import __version__

        print(f"sugar-search {__version__}")
        return
    if not given:
        print(context.get_help())
        return
    if arch is None or dataset is None:
        missing = "--arch" if arch is None else "--dataset"
        raise InputError(
            "a search needs --arch and --dataset", f"no {missing}", "see: sugar-search list archs, datasets"
        )
    from sugar_search.cli.search import run

    run(
        arch=arch,
        dataset=dataset,
        space=space,
        trials=trials,
        time_budget=time_budget,
        epochs=epochs,
        recipe=recipe,
        seed=seed,
        repeats=repeats,
        confirm=confirm,
        sampler=sampler,
        objective=objective,
        engine=engine,
        workers=workers,
        threads=threads_per_trial,
        gpus=gpus_per_trial,
        loaders=loader_workers,
        compile=compile,
        sites=sites,
        data_dir=data_dir,
        offline=offline,
        storage=storage,
        study=study,
        out=out,
        baselines=baselines,
        as_json=as_json,
    )
