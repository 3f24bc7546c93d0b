"""The checks before a sitting: everything that can be known before work starts."""

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sugar_search.data._about import facts
from sugar_search.data._dataset import Dataset
from sugar_search.data._load import load_dataset
from sugar_search.errors import InputError, UnknownNameError
from sugar_search.search.execution import MOST_WEIGHTS, TOGETHER
from sugar_search.search.plan import ENGINES, Plan
from sugar_search.search.room import check_room
from sugar_search.search.sampler import SAMPLERS
from sugar_search.search.store import Store, hold, is_new, storage_errors

__all__ = ["MAX_REPEATS", "check_numbers", "preflight", "preflight_all"]

MAX_REPEATS = 1000
SHARED_MEMORY = Path("/dev/shm")


def preflight(plan: Plan) -> tuple[str, ...]:
    """Checks all that can be known before work starts; fetches and decodes the dataset last, writes nothing else.

    Returns:
        What is worth knowing about the network: activations that were converted, images that it resizes.

    Raises:
        InputError: a number out of range, an architecture that cannot take the dataset, an objective that the dataset
            does not define, a folder that cannot be written, too little disk, a dataset that is missing or damaged.
    """
    notes = _check_plan(plan)
    if plan.train_fn is None and notes is None:
        data = _check_data(plan)
        parameters, notes = _check_network(plan, data.input_shape, data.outputs)
        _check_folder(plan.folder, parameters, plan.workers)
    elif plan.train_fn is None:
        _check_data(plan)
    return notes or ()


def preflight_all(plans: Sequence[Plan]) -> list[tuple[str, ...]]:
    """`preflight` of several plans: what speaks against the last one is said before data for the first are fetched."""
    for plan in plans:
        _check_plan(plan)
    return [preflight(plan) for plan in plans]


def check_numbers(plan: Plan) -> None:
    """Checks engine, sampler, numbers and GPUs.

    Raises:
        InputError: one is out of range.
    """
    if plan.engine not in ENGINES:
        raise InputError("--engine must be local or ray", plan.engine, "choose one")
    if plan.sampler not in SAMPLERS:
        raise UnknownNameError.of("--sampler", plan.sampler, SAMPLERS)
    for name, value, least, most in (
        ("--trials", plan.trials, 0, 10**9),
        ("--repeats", plan.repeats, 1, MAX_REPEATS),
        ("--confirm", plan.confirm, 0, MAX_REPEATS),
        ("--workers", plan.workers, 0 if plan.engine == "local" else 1, 1024),
        ("--threads-per-trial", plan.threads, 1, 1024),
        ("--gpus-per-trial", plan.gpus, 0, 1024),
        ("--loader-workers", plan.loaders, 0, 1024),
        ("--seed", plan.seed, 0, 2**63 - 1),
    ):
        # NaN compares false with everything, so the test is written to refuse it.
        if value is not None and not least <= value <= most:
            raise InputError(f"{name} must be {least} to {most}", value, "give a number in that range")
    if not plan.baselines and plan.trials == 0:
        raise InputError("a study must have something to train", "--trials 0 without baselines", "drop --no-baselines")
    if plan.train_fn is None:
        _check_gpus(plan)


def _check_plan(plan: Plan) -> tuple[str, ...] | None:
    """What can be known without data; what was said of the network, None where only the data tell its input shape."""
    check_numbers(plan)
    _check_folder(plan.folder, 0, plan.workers)
    _check_study(plan)
    if plan.train_fn is not None:
        return None
    if (known := facts(plan.dataset)) is None:
        return None
    parameters, notes = _check_network(plan, known.input_shape, known.outputs)
    _check_folder(plan.folder, parameters, plan.workers)
    return notes


def _check_study(plan: Plan) -> None:
    """Refuses a study that another process holds, or that is another one; makes neither folder nor storage."""
    if (plan.folder / "study.lock").is_file():
        hold(plan.folder).release()
    if not is_new(plan.url):
        with storage_errors(plan.url):
            Store(plan.url, plan.name).check(plan.identity, str(plan.folder.resolve()))


class _Notes(logging.Handler):
    """Keeps what the package's log says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _notes() -> Iterator[list[str]]:
    """Collects the package's log in a list instead of passing it on."""
    log, handler = logging.getLogger("sugar_search"), _Notes()
    before = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        log.handlers, log.propagate = before[0], before[2]
        log.setLevel(before[1])


def _check_gpus(plan: Plan) -> None:
    import torch

    have = torch.cuda.device_count()
    need = max(1, plan.workers) * plan.gpus
    if plan.engine == "local" and need > have:
        rule = f"--workers x --gpus-per-trial must fit this machine's {have} GPUs"
        raise InputError(rule, f"{plan.workers} x {plan.gpus:g}", "ask for less, or 0 for the CPU")


def _check_data(plan: Plan) -> Dataset:
    """Loads the dataset (downloads and decodes it where that is due) and holds the recipe and objectives against it."""
    from sugar_search.training.feed import check_fit
    from sugar_search.training.network import validated

    dataset = load_dataset(plan.dataset, data_dir=plan.data_dir, offline=plan.offline)
    check_fit(plan.recipe, validated(dataset, plan.recipe.validation, seed=0))
    if dataset.task == "regression":
        for objective in plan.objectives:
            if objective.name == "accuracy":
                raise InputError("--objective accuracy needs class labels", plan.dataset, "use --objective loss")
        if plan.recipe.selection.metric == "accuracy":
            rule = "a recipe that selects by accuracy needs class labels"
            raise InputError(rule, plan.dataset, "choose a recipe that selects by loss")
    return dataset


def _check_network(plan: Plan, input_shape: tuple[int, ...], outputs: int) -> tuple[int, tuple[str, ...]]:
    """Builds the network once, converts it and passes two samples through it; its parameter count and what was said."""
    import torch

    from sugar_search.activation.convert import convert
    from sugar_search.activation.leftover import leftover
    from sugar_search.catalog import is_reference
    from sugar_search.models._model import build_model, find_arch

    arch = find_arch(plan.arch)
    shape = plan.recipe.augment.seen(input_shape)
    _check_shared_memory(plan, shape)
    with _notes() as notes:
        model = build_model(arch.name, shape, outputs, **plan.recipe.arch.get(arch.name.partition("/")[0], {}))
        model = convert(model, "relu", sites=plan.sites or arch.sites)
    if plan.recipe.batch_size == 1 and any(
        isinstance(each, torch.nn.modules.batchnorm._BatchNorm) for each in model.modules()
    ):
        raise InputError("batch norm needs two samples in a batch", "batch_size = 1", "set it to 2 or more")
    rule = f"arch {plan.arch} must take samples of shape {shape} and give {outputs} outputs"
    try:
        with torch.no_grad():
            given = model.eval()(torch.zeros(2, *shape))
    except Exception as error:  # a network of the user may raise anything
        said = (str(error).splitlines() or [""])[0]
        remedy = "mend the network or choose another dataset"
        raise InputError(rule, f"{type(error).__name__}: {said}", remedy) from error
    if getattr(given, "shape", None) != (2, outputs):
        shown = tuple(getattr(given, "shape", ())) or type(given).__name__
        raise InputError(f"{rule}, so (2, {outputs}) for two", shown, "mend the network's last layer")
    if is_reference(arch.name) and (left := leftover(model, torch.zeros(2, *shape), sites=plan.sites or arch.sites)):
        shown = ", ".join(f"{count} x {kind}" for kind, count in left.items())
        rule = f"every site of arch {arch.name} must be convertible, and some stay plain"
        raise InputError(rule, shown, "use nn.ReLU() in __init__ or F.relu in forward")
    said = f"{arch.name}: {sum(p.numel() for p in model.parameters()):,} parameters"
    return sum(p.numel() for p in model.parameters()), (said, *(note.removesuffix(" to ReLU") for note in notes))


def _check_shared_memory(plan: Plan, shape: tuple[int, ...]) -> None:
    """Loader processes hand batches over in shared memory; where it is short (in containers) they die."""
    if not plan.recipe.augment.by_image or not plan.loaders or not SHARED_MEMORY.is_dir():
        return
    batches = 3 * plan.loaders * max(1, plan.workers)  # two prepared by each process, one in use
    need = batches * plan.recipe.batch_size * 4 * math.prod(shape)
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < need:
        rule = f"{plan.loaders} loader processes per run need {need / 2**20:.0f} MiB of shared memory"
        remedy = "give fewer --loader-workers or --workers (in a container: --shm-size)"
        raise InputError(rule, f"{free / 2**20:.0f} MiB", remedy)


def _check_folder(folder: Path, parameters: int, workers: int) -> None:
    # Weights, momentum and their copy while written, for each worker; weights of the finalists' runs.
    # A worker trains small networks in a batch, each with a checkpoint of its own.
    each = TOGETHER if parameters <= MOST_WEIGHTS else 1
    check_room(folder, 4 * parameters * (6 * each * max(1, workers) + 24) + 50 * 2**20)
