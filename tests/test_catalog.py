"""Parts are found by file; names are forgiving; two files for one name are an error."""

import pytest

from sugar_search import catalog
from sugar_search.errors import FileError, UnknownNameError


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A catalog with one kind, whose folder the test fills."""
    folder = tmp_path / "things"
    folder.mkdir()
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path)
    monkeypatch.setitem(catalog.KINDS, "things", catalog.Kind("thing", "things", ".toml"))
    catalog.find.cache_clear()
    yield folder
    catalog.find.cache_clear()


def test_a_file_is_enough_and_an_underscore_hides_it(parts):
    (parts / "b-one.toml").write_text('description = "The first.\\nMore."')
    (parts / "two.toml").write_text("")
    (parts / "_hidden.toml").write_text("")
    assert catalog.names("things") == ("b-one", "two")
    assert catalog.resolve("things", "B One") == "b-one"
    assert catalog.summary("things", "bone") == "The first."
    assert catalog.summary("things", "two") == ""


def test_two_files_for_one_name_are_an_error(parts):
    (parts / "b-silu.toml").write_text("")
    (parts / "bsilu.toml").write_text("")
    with pytest.raises(FileError, match=r"one file, got 'b-silu\.toml and bsilu\.toml'"):
        catalog.find("things")


def test_unknown_names_show_the_nearest(parts):
    (parts / "resnet18.toml").write_text("")
    with pytest.raises(UnknownNameError, match="did you mean resnet18"):
        catalog.resolve("things", "resnet81")
    with pytest.raises(UnknownNameError, match="choose from resnet18"):
        catalog.resolve("things", "zzz")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = ", b"[a\n"])
def test_files_that_are_not_toml_are_named(parts, content):
    path = parts / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"bad\.toml"):
        catalog.load_toml(path)


@pytest.mark.parametrize("kind", sorted(catalog.KINDS))
def test_every_shipped_part_loads_and_says_what_it_is(kind):
    assert catalog.names(kind)
    for name in catalog.names(kind):
        assert catalog.summary(kind, name)
        if catalog.KINDS[kind].suffix == ".py":
            catalog.load_module(kind, name)
        else:
            catalog.load_toml(catalog.find(kind)[name])
