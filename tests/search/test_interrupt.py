"""Signals are raised between the coordinator's steps, and never in a forked process."""

import os
import signal
import threading

import pytest

from sugar_search.search.interrupt import Interrupted, shielded, signals


def me(number):
    os.kill(os.getpid(), number)


def test_ctrl_c_is_a_keyboard_interrupt_too_and_sigterm_is_not():
    with pytest.raises(KeyboardInterrupt) as caught, signals():
        me(signal.SIGINT)
    assert isinstance(caught.value, Interrupted) and caught.value.number == signal.SIGINT
    with pytest.raises(Interrupted) as caught, signals():
        me(signal.SIGTERM)
    assert not isinstance(caught.value, KeyboardInterrupt)


def test_a_shield_is_left_whole_and_the_signal_comes_after_the_outermost():
    steps = []
    with pytest.raises(Interrupted), signals(), shielded():
        with shielded():
            me(signal.SIGTERM)
            steps.append("inner")
        steps.append("outer")
    assert steps == ["inner", "outer"]


def test_a_signal_that_a_destructor_swallows_comes_back_and_prints_nothing(capsys):
    class Noisy:
        def __del__(self):
            me(signal.SIGTERM)

    with pytest.raises(Interrupted), signals():
        thing = Noisy()
        del thing
        with shielded():
            pass
    assert capsys.readouterr().err == ""


def test_nothing_is_left_behind():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), signals():
        me(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with shielded():  # no old signal comes up again, here or in another thread
        pass
    raised = []

    def other():
        try:
            with signals(), shielded():
                pass
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert raised == []


def test_a_forked_process_leaves_ctrl_c_to_its_parent_and_dies_of_sigterm():
    with signals():
        child = os.fork()
        if child == 0:
            try:
                me(signal.SIGINT)  # as the terminal sends it to the whole group
                me(signal.SIGTERM)
            finally:
                os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM
