"""Compiling the kernels in C: what is remembered of a failure, and what tells one library from another."""

import os
import time

from sugar_search.activation.kernels import compiler, native


def test_a_failure_is_recalled_for_an_hour_by_the_same_compiler(tmp_path, monkeypatch):
    calls, library, failure = tmp_path / "calls", tmp_path / compiler.LIBRARY, tmp_path / "_native.failed"
    fakes = [tmp_path / "first", tmp_path / "second"]
    for fake in fakes:
        fake.write_text(f"#!/bin/sh\necho once >> {calls}\necho no good >&2\nexit 1\n")
        fake.chmod(0o755)
    count = lambda: len(calls.read_text().splitlines())  # noqa: E731
    build = lambda: compiler.build(native._FOLDER, library)  # noqa: E731
    monkeypatch.setenv("CC", str(fakes[0]))
    assert build().endswith("failed: no good")
    tried = count()
    again = build()
    assert count() == tried and "failed: no good" in again and str(failure) in again
    os.utime(failure, (time.time() - 3601,) * 2)
    build()
    assert count() == 2 * tried
    monkeypatch.setenv("CC", str(fakes[1]))
    build()
    assert count() == 3 * tried
    failure.write_text("no line break")
    build()
    assert count() == 4 * tried
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second", "calls", failure.name}
    monkeypatch.setattr(compiler, "compile_sources", lambda folder, target: None)
    failure.unlink()
    assert build() is None and not failure.exists()


def test_the_hash_holds_sources_and_options(tmp_path, monkeypatch):
    for name in compiler.SOURCES:
        (tmp_path / name).write_bytes((native._FOLDER / name).read_bytes())
    before = compiler.source_hash(tmp_path)
    assert before == compiler.source_hash(native._FOLDER)
    monkeypatch.setattr(compiler, "_FLAGS", [*compiler._FLAGS, "-O3"])
    changed = compiler.source_hash(tmp_path)
    (tmp_path / compiler.SOURCES[-1]).write_text("int x;")
    assert len({before, changed, compiler.source_hash(tmp_path)}) == 3
