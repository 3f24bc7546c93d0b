import threading

import pytest
from flint import ctx
from numpy import linspace

from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.certificates.working import working
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.points import values_at
from sugar_search.symbolic.tape import Tape


def enter() -> None:
    with working(60):
        pass


def test_precision_and_length_are_put_back_also_after_an_error():
    before = ctx.prec, ctx.cap
    with working(200, cap=3), working(90):
        assert (ctx.prec, ctx.cap) == (90, 3)
    with pytest.raises(ValueError), working(-1):
        pass
    with pytest.raises(KeyError), working(77, 5):
        raise KeyError
    assert (ctx.prec, ctx.cap) == before
    other = threading.Thread(target=enter, daemon=True)
    other.start()  # does not end if an error above kept the lock
    other.join(timeout=5)
    assert not other.is_alive()


def test_a_second_thread_waits():
    entered = threading.Event()

    def second() -> None:
        with working(512):
            entered.set()

    with working(64):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1) and ctx.prec == 64
    thread.join(timeout=5)
    assert entered.is_set()


def test_proofs_in_two_threads_are_those_of_one():
    texts = ["sigmoid(x) + (x + 1.67)*sigmoid(x)*sigmoid(-x)", "where(x > 0, 1, x*exp(x))", "1/(1 + abs(x))**2"]
    tapes = [Tape.of(parse(text)) for text in texts]
    x = linspace(-30, 30, 41)
    expected = [certificate(tape) for tape in tapes]
    values = [values_at(tape, x)[0].tolist() for tape in tapes]
    before = ctx.prec, ctx.cap
    wrong: list[str] = []

    def prove() -> None:
        for _ in range(6):
            wrong.extend(t for t, tape, c in zip(texts, tapes, expected) if certificate(tape) != c)

    def evaluate() -> None:
        for _ in range(40):
            wrong.extend(t for t, tape, v in zip(texts, tapes, values) if values_at(tape, x)[0].tolist() != v)

    threads = [threading.Thread(target=target) for target in (prove, evaluate, prove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and (ctx.prec, ctx.cap) == before
