"""Makes small datasets in the exact formats of the published ones: pickles of Python 2, archives, folders of images."""

import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

CIFAR10_ORDER = ("batches.meta", "data_batch_4", "test_batch", "data_batch_3", "data_batch_2", "data_batch_5")


def make_images(samples, classes, side=32, seed=0):
    """Images that a network can learn: uint8 (samples, 3, side, side) and labels 0..classes-1 in turn.

    Every class has a colour and a direction of stripes of its own; noise makes every image different.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % classes
    colours = np.random.default_rng(classes).integers(60, 196, (classes, 3))
    angle = np.pi * labels / classes
    row, column = np.mgrid[:side, :side] / side
    waves = np.sin(12 * (np.cos(angle)[:, None, None] * row + np.sin(angle)[:, None, None] * column))
    images = colours[labels][:, :, None, None] + 40 * waves[:, None] + rng.normal(0, 12, (samples, 3, side, side))
    return images.clip(0, 255).astype(np.uint8), labels


# --- CIFAR -----------------------------------------------------------------------------------------------------------


def python2_pickle(content):
    """`content` as cPickle of Python 2 wrote it (protocol 2): dicts, lists, ints, bytes and arrays of bytes."""
    return b"\x80\x02" + _opcodes(content) + b"."


def _opcodes(value):
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, bytes):
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, np.ndarray):
        array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        shape = b"(" + b"".join(map(_opcodes, value.shape)) + b"t"
        return array + b"(K\x01" + shape + kind + b"\x89" + _opcodes(value.tobytes()) + b"tb"
    return b"J" + struct.pack("<i", int(value))


def cifar10_files(train=50, test=20, seed=0):
    """The files of cifar-10-batches-py: name -> bytes. Training images are spread over five batches."""
    images, labels = make_images(train + test, 10, seed=seed)
    parts = {f"data_batch_{i + 1}": rows for i, rows in enumerate(np.array_split(np.arange(train), 5))}
    parts["test_batch"] = np.arange(train, train + test)
    files = {name: python2_pickle(_batch(name, images[rows], labels[rows], b"labels")) for name, rows in parts.items()}
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    meta = {b"num_cases_per_batch": 10000, b"label_names": names, b"num_vis": 3072}
    return {"batches.meta": python2_pickle(meta), **files, "readme.html": b"<html></html>"}


def cifar100_files(train=200, test=100, seed=0):
    """The files of cifar-100-python: name -> bytes."""
    images, labels = make_images(train + test, 100, seed=seed)
    files = {}
    for name, rows in (("train", slice(0, train)), ("test", slice(train, None))):
        batch = _batch(name, images[rows], labels[rows], b"fine_labels")
        files[name] = python2_pickle({**batch, b"coarse_labels": [int(label) // 5 for label in labels[rows]]})
    names = {b"fine": 100, b"coarse": 20}
    meta = {kind + b"_label_names": [b"%s_%d" % (kind, i) for i in range(count)] for kind, count in names.items()}
    return {"meta": python2_pickle(meta), **files, "file.txt~": b""}


def _batch(name, images, labels, key):
    files = [b"%s_%d.png" % (name.encode(), i) for i in range(len(images))]
    data = images.reshape(len(images), -1)
    return {b"batch_label": name.encode(), key: labels.tolist(), b"data": data, b"filenames": files}


def write_files(files, folder, base, archive=None):
    """`files` as folder/base/..., or as the .tar.gz `archive` in `folder`. Returns `folder`."""
    folder = Path(folder)
    inside = folder / base
    inside.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (inside / name).write_bytes(content)
    if archive:
        order = [name for name in CIFAR10_ORDER if name in files]  # the published archive is not sorted either
        with tarfile.open(folder / archive, "w:gz", compresslevel=1) as tar:
            for name in order + sorted(set(files) - set(order)):
                tar.add(inside / name, f"{base}/{name}")
                (inside / name).unlink()
        inside.rmdir()
    return folder


def make_cifar10(folder, train=50, test=20, seed=0, archive=False):
    """CIFAR-10 with `train` and `test` images under `folder`, as a folder or as the archive; returns `folder`."""
    files = cifar10_files(train, test, seed)
    return write_files(files, folder, "cifar-10-batches-py", "cifar-10-python.tar.gz" if archive else None)


def make_cifar100(folder, train=200, test=100, seed=0, archive=False):
    """CIFAR-100 with `train` and `test` images under `folder`, as a folder or as the archive; returns `folder`."""
    files = cifar100_files(train, test, seed)
    return write_files(files, folder, "cifar-100-python", "cifar-100-python.tar.gz" if archive else None)


# --- Images ----------------------------------------------------------------------------------------------------------


def make_tiny_imagenet(folder, per_class=1, val=200, seed=0, archive=False, classes=200):
    """Tiny-ImageNet-200 with `per_class` training images a class and `val` validation images; returns `folder`.

    Every seventh image is a greyscale JPEG, as some of the published ones are.
    """
    base = Path(folder) / "tiny-imagenet-200"
    wnids = [f"n{1443537 + 7919 * i:08d}" for i in range(classes)]
    images, labels = make_images(classes * per_class + val, classes, 64, seed)
    (base / "val" / "images").mkdir(parents=True)
    (base / "test" / "images").mkdir(parents=True)
    (base / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in wnids[1::2] + wnids[::2]))
    (base / "words.txt").write_text("".join(f"{wnid}\tthing {i}\n" for i, wnid in enumerate(wnids)))
    for i in range(classes * per_class):
        wnid = wnids[labels[i]]
        images_folder = base / "train" / wnid / "images"
        images_folder.mkdir(parents=True, exist_ok=True)
        (images_folder.parent / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
        _save(images[i], images_folder / f"{wnid}_{i // classes}.JPEG", grey=i % 7 == 6)
    lines = []
    for i in range(val):
        row = classes * per_class + i
        _save(images[row], base / "val" / "images" / f"val_{i}.JPEG", grey=i % 7 == 6)
        lines.append(f"val_{i}.JPEG\t{wnids[labels[row]]}\t0\t0\t63\t63\n")
    (base / "val" / "val_annotations.txt").write_text("".join(lines))
    _save(images[0], base / "test" / "images" / "test_0.JPEG")
    if archive:
        with zipfile.ZipFile(Path(folder) / "tiny-imagenet-200.zip", "w") as file:
            for path in sorted(base.rglob("*")):
                file.write(path, path.relative_to(folder))
        remove(base)
    return Path(folder)


def make_image_folder(folder, classes=("cat", "dog", "eel"), train=4, val=0, test=2, size=(80, 70), seed=0):
    """train/<class>/*, val/<class>/* and test/<class>/* with so many images a class of `size` (width, height)."""
    folder, width, height = Path(folder), *size
    for split, count in {"train": train, "val": val, "test": test}.items():
        images, labels = make_images(count * len(classes), len(classes), max(size), seed + len(split))
        for i, label in enumerate(labels):
            path = folder / split / classes[label] / f"{i}.{('png', 'jpg', 'JPEG')[i % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(images[i][:, :height, :width], path)
    return folder


def _save(image, path, grey=False):
    picture = Image.fromarray(image.transpose(1, 2, 0))
    (picture.convert("L") if grey else picture).save(path, quality=95)


def remove(folder):
    """Deletes a folder of files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
