"""The files of CIFAR: damaged and hostile archives, the published ones, and what is missing."""

import io
import logging
import tarfile
from dataclasses import replace

import makers
import pytest
from cifar_kinds import KINDS, check

from sugar_search.data import cifar10, cifar100
from sugar_search.data._about import is_present
from sugar_search.data._load import load_dataset
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision


def damaged_archive(path, how):
    raw = path.read_bytes()
    middle = len(raw) // 2
    path.write_bytes(
        {
            "empty": b"",
            "truncated": raw[:middle],
            "one byte short": raw[:-1],
            "flipped": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :],
            "a web page": b"<html>404</html>",
            "zeros inside": raw[:middle] + bytes(1000) + raw[middle + 1000 :],
        }[how]
    )


@pytest.mark.parametrize("how", ["empty", "truncated", "one byte short", "flipped", "a web page", "zeros inside"])
def test_a_damaged_archive_is_refused(tmp_path, how):
    makers.make_cifar10(tmp_path, archive=True)
    damaged_archive(tmp_path / "cifar-10-python.tar.gz", how)
    with pytest.raises(FileError, match=r"whole .tar.gz archive, got .*; download it again") as error:
        load_dataset("cifar10", data_dir=tmp_path)
    assert "\n" not in str(error.value) and not list((tmp_path / "decoded").glob("cifar10"))


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_of_the_published_size_must_have_the_published_content(tmp_path, monkeypatch, caplog, archive):
    makers.make_cifar10(tmp_path, archive=archive)
    file = "cifar-10-python.tar.gz" if archive else "cifar-10-batches-py/test_batch"
    size = (tmp_path / file).stat().st_size
    batches = {**cifar10.CIFAR.batch_bytes, "test_batch": size}
    monkeypatch.setattr(cifar10, "CIFAR", replace(cifar10.CIFAR, archive_bytes=size, batch_bytes=batches))
    with pytest.raises(FileError, match=f"{file} is damaged: its md5 must be .*; download it again"):
        load_dataset("cifar10", data_dir=tmp_path)


def test_the_published_archive_is_used_without_a_word_and_another_with_one(tmp_path, monkeypatch, caplog):
    import hashlib

    makers.make_cifar10(tmp_path / "a", archive=True)
    makers.make_cifar10(tmp_path / "b", archive=True)
    makers.make_cifar10(tmp_path / "c")
    raw = (tmp_path / "a" / "cifar-10-python.tar.gz").read_bytes()
    published = load_vision("torchvision.datasets").CIFAR10
    with caplog.at_level(logging.INFO, "sugar_search"):
        load_dataset("cifar10", data_dir=tmp_path / "b")
        load_dataset("cifar10", data_dir=tmp_path / "c")
        assert [r.message for r in caplog.records if "the published" in r.message] == [
            f"{tmp_path / 'b' / 'cifar-10-python.tar.gz'} is not the published file: used as it is",
            f"{tmp_path / 'c' / 'cifar-10-batches-py'} does not hold the published files: used as they are",
        ]
        caplog.clear()
        monkeypatch.setattr(published, "tgz_md5", hashlib.md5(raw).hexdigest())
        monkeypatch.setattr(cifar10, "CIFAR", replace(cifar10.CIFAR, archive_bytes=len(raw)))
        load_dataset("cifar10", data_dir=tmp_path / "a")
        assert not [r for r in caplog.records if "the published" in r.message]


@pytest.mark.parametrize("kind", ["outside", "absolute", "link", "device", "missing"])
def test_hostile_members_of_an_archive_are_never_followed(tmp_path, kind):
    files = makers.cifar10_files()
    path = tmp_path / "cifar-10-python.tar.gz"
    secret = tmp_path / "secret"
    secret.write_bytes(files["test_batch"])
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            if name == "test_batch":
                if kind == "missing":
                    continue
                places = {"outside": f"../cifar-10-batches-py/{name}", "absolute": f"/cifar-10-batches-py/{name}"}
                member.name = places.get(kind, member.name)
                kinds = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}
                member.type, member.linkname = kinds.get(kind, tarfile.REGTYPE), str(secret)
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(FileError, match=r"must hold .*test_batch|test_batch must be an ordinary file"):
        load_dataset("cifar10", data_dir=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"secret", path.name, "decoded"}
    assert not (tmp_path.parent / "cifar-10-batches-py").exists()


def test_nothing_there_and_offline_is_one_line_and_writes_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(FileError, match=r"no cifar-100-python.tar.gz or cifar-100-python in .*--data-dir"):
            load_dataset("cifar100", data_dir=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_incomplete_folder_names_what_is_missing_and_a_whole_archive_beside_it_wins(tmp_path):
    makers.make_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    for folder in (tmp_path, tmp_path / "cifar-10-batches-py"):
        with pytest.raises(FileError, match=r"cifar-10-batches-py must be complete, got 'no data_batch_4'; extract"):
            load_dataset("cifar10", data_dir=folder)
    makers.write_files(makers.cifar10_files(), tmp_path / "other", "cifar-10-batches-py", "cifar-10-python.tar.gz")
    (tmp_path / "other" / "cifar-10-python.tar.gz").rename(tmp_path / "cifar-10-python.tar.gz")
    check(load_dataset("cifar10", data_dir=tmp_path), "cifar10", 50, 20)


def test_files_of_somebody_else_in_the_data_folder_are_no_cifar(tmp_path):
    (tmp_path / "meta").write_text("notes")
    with pytest.raises(FileError, match="cifar100 needs its files"):
        load_dataset("cifar100", data_dir=tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_files_are_seen_in_every_layout_without_being_opened(tmp_path, name):
    make, _, base, archive = KINDS[name]
    assert not is_present(name, tmp_path) and is_present("digits", tmp_path)
    (tmp_path / archive).write_bytes(b"")
    assert is_present(name, tmp_path)
    make(tmp_path / "x")
    assert is_present(name, tmp_path / "x") and is_present(name, tmp_path / "x" / base)
    published = getattr(load_vision("torchvision.datasets"), name.upper())
    assert (published.filename, published.base_folder) == (archive, base)


def test_sizes_are_given_for_published_files_only():
    for module in (cifar10, cifar100):
        published = getattr(load_vision("torchvision.datasets"), module.CIFAR.torchvision)
        assert set(module.CIFAR.batch_bytes) <= {name for name, _ in published.train_list + published.test_list}
