"""Pinned trials: the paper's tables, and faults of a file in one line."""

import pytest

from sugar_search import catalog
from sugar_search.errors import FileError, UnknownNameError
from sugar_search.search.pinned import load_baselines, load_table, tables
from sugar_search.search.plan import PAPER_SEEDS


@pytest.mark.parametrize(("name", "runs", "archs"), [("table1", 60, 2), ("table4", 210, 2), ("table5", 210, 2)])
def test_the_papers_tables_list_every_run(name, runs, archs):
    table = load_table(name)
    assert table.seeds == PAPER_SEEDS
    assert len(table.studies) == archs
    assert sum(len(study.entries) for study in table.studies) * len(table.seeds) == runs
    for study in table.studies:
        assert study.entries[0].surrogate.name == "relu"
        keys = [(entry.surrogate.canonical, entry.sugar) for entry in study.entries]
        assert len(set(keys)) == len(keys)
        assert all(entry.published for entry in study.entries)
        assert study.arch in catalog.names("archs")
        assert study.recipe in catalog.names("recipes")


def test_a_table_is_told_from_the_baselines_of_every_study():
    assert tables() == ("table1", "table4", "table5")
    assert load_table("paper").studies == ()
    with pytest.raises(UnknownNameError, match="did you mean table4"):
        load_table("tabel4")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('description = "x"', r"either \[\[trial\]\]"),
        ('description = "x"\n[[trial]]\nsurrogate = "bsulu"', "trial.0.*did you mean bsilu"),
        ('description = "x"\n[[study]]\narch = "mlp"', "study.0.dataset: is missing"),
        (
            'description = "x"\nseeds = [1]\n[[study]]\narch = "mlp"\ndataset = "digits"\nrecipe = "digits"\n'
            'epochs = 1\ntrial = [{ surrogate = "relu", published = [1] }]',
            "published",
        ),
    ],
)
def test_faults_of_a_file_are_one_line(content, said, tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    shipped = catalog.find
    monkeypatch.setattr(catalog, "find", lambda kind: {"mine": path} if kind == "trials" else shipped(kind))
    with pytest.raises(FileError, match=said) as error:
        (load_baselines if "[[trial]]" in content else load_table)("mine")
    assert "\n" not in str(error.value)
