"""Downloads, against a server of this machine: verified, locked, never half there, each fault one line."""

import hashlib
import http.server
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import makers
import pytest

from sugar_search.data import _fetch, cifar10, tiny_imagenet_200
from sugar_search.data._fetch import Remote, fetch
from sugar_search.data._load import load_dataset
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision

CONTENT = bytes(range(256)) * 8192  # 2 MiB


class Server(http.server.ThreadingHTTPServer):
    """Serves what `answer(path)` gives: (status, announced length, body, seconds between its two halves)."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.requests = answer, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        status, length, body, pause = self.server.answer(self.path)
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        time.sleep(pause)
        self.wfile.write(body[half:])

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(answer):
        servers.append(Server(answer))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def remote(url, content=CONTENT, file="x.tar.gz"):
    return Remote(f"{url}/{file}", file, len(content), hashlib.md5(content).hexdigest())


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_downloaded_once_into_a_new_folder(serve, tmp_path):
    server = serve(lambda _: (200, len(CONTENT), CONTENT, 0))
    for _ in range(2):
        assert fetch(remote(server.url), tmp_path / "new" / "data").read_bytes() == CONTENT
    assert server.requests == ["/x.tar.gz"] and visible(tmp_path / "new" / "data") == ["x.tar.gz"]


FAULTS = {
    "truncated": ((200, len(CONTENT), CONTENT[:-5], 0), r"broke off|must send 2097152 bytes, got 2097147; try again"),
    "no length, truncated": ((200, None, CONTENT[:-5], 0), r"must send 2097152 bytes, got 2097147; try again"),
    "empty": ((200, 0, b"", 0), r"must send 2097152 bytes, got 0"),
    "too long": ((200, None, CONTENT + b"x", 0), r"must have md5"),
    "other content": (
        (200, len(CONTENT), CONTENT[::-1], 0),
        r"must have md5 [0-9a-f]{32}, got '[0-9a-f]{32}'; try again",
    ),
    "not found": ((404, 0, b"", 0), r"must be there, got '404 Not Found'; give --data-dir with x.tar.gz, or download"),
    "server error": ((503, 0, b"", 0), r"must be there, got '503"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_answer_is_one_line_and_leaves_nothing(serve, tmp_path, fault):
    answer, message = FAULTS[fault]
    server = serve(lambda _: answer)
    with pytest.raises(FileError, match=message) as error:
        fetch(remote(server.url), tmp_path)
    assert "\n" not in str(error.value) and f"{server.url}/x.tar.gz" in str(error.value) and visible(tmp_path) == []


def test_without_a_network_the_way_round_is_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(FileError, match=r"no network: cannot reach .*; give --data-dir with x.tar.gz, or download"):
            fetch(remote(url), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_falls_silent_is_given_up(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(_fetch, "SILENCE", 0.2)
    server = serve(lambda _: (200, len(CONTENT), CONTENT, 2))
    with pytest.raises(FileError, match=r"broke off, got '.*timed out'; try again"):
        fetch(remote(server.url), tmp_path)
    assert visible(tmp_path) == []


def test_too_little_disk_is_said_before_the_download(serve, tmp_path, monkeypatch):
    server = serve(lambda _: (200, len(CONTENT), CONTENT, 0))
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(_fetch.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FileError, match=r"downloading x.tar.gz needs 2 MiB of free disk space in .*, got '1 MiB'"):
        fetch(remote(server.url), tmp_path)
    assert server.requests == [] and visible(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(FileError, match=r"data/x.tar.gz must be writable, got '.*'; give --data-dir"):
        fetch(remote("http://127.0.0.1:1"), tmp_path / "data")


SCRIPT = """
from pathlib import Path
from sugar_search.data._fetch import Remote, fetch
print(len(fetch(Remote({url!r}, "x.tar.gz", {size}, {md5!r}), Path({folder!r})).read_bytes()))
"""


def test_two_processes_download_once(serve, tmp_path):
    server = serve(lambda _: (200, len(CONTENT), CONTENT, 1.0))
    wanted = remote(server.url)
    text = SCRIPT.format(url=wanted.url, size=wanted.size, md5=wanted.md5, folder=str(tmp_path))
    both = [subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == [f"{len(CONTENT)}\n"] * 2
    assert len(server.requests) == 1 and visible(tmp_path) == ["x.tar.gz"]


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet_200"])
def test_a_dataset_is_downloaded_only_when_it_is_missing_and_allowed(serve, tmp_path, monkeypatch, name):
    (makers.make_cifar10 if name == "cifar10" else makers.make_tiny_imagenet)(tmp_path / "web", archive=True)
    path = next((tmp_path / "web").iterdir())
    content = path.read_bytes()
    server = serve(lambda _: (200, len(content), content, 0))
    wanted = remote(server.url, content, path.name)
    if name == "cifar10":
        published = load_vision("torchvision.datasets").CIFAR10
        monkeypatch.setattr(published, "url", wanted.url)
        monkeypatch.setattr(published, "tgz_md5", wanted.md5)
        monkeypatch.setattr(cifar10, "CIFAR", replace(cifar10.CIFAR, archive_bytes=wanted.size))
    else:
        monkeypatch.setattr(tiny_imagenet_200, "REMOTE", wanted)
    data_dir = tmp_path / "data"
    with pytest.raises(FileError, match="leave out --offline"):
        load_dataset(name, data_dir=data_dir)
    assert server.requests == [] and not data_dir.exists()
    dataset = load_dataset(name, data_dir=data_dir, offline=False)
    assert len(dataset.train) == (50 if name == "cifar10" else 200)
    assert load_dataset(name, data_dir=data_dir) is dataset and len(server.requests) == 1
    assert set(visible(data_dir)) == {path.name, "decoded"}
    assert len(load_dataset(name, data_dir=data_dir, offline=False, seed=1).train) == len(dataset.train)
    assert len(server.requests) == 1


def test_without_a_folder_files_are_looked_for_in_data(tmp_path, monkeypatch):
    makers.make_cifar10(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("cifar10").train) == 50 and (Path("data") / "decoded" / "cifar10").is_dir()
