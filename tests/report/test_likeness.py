"""Gains, closest surrogates, and what the leaderboard says of refused draws."""

from pathlib import Path

import pytest

from sugar_search.report.leaderboard import refused_line
from sugar_search.report.likeness import likeness
from sugar_search.search.view import StudyView
from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.surrogate import surrogate


def test_gains_agree_with_the_certificates():
    subjects = [surrogate(name) for name in ("relu", "selu", "bsilu", "elu", "gelu", "silu", "mish", "nelu")]
    for subject, like in zip(subjects, likeness(subjects)):
        assert like.gain == pytest.approx(certificate(subject.tape).gain.mid, rel=2e-3), subject.title


def test_the_closest_is_another_surrogate_that_came_before():
    near = surrogate("bsilu", alpha=1.68)
    first, second, third, again = likeness([surrogate("relu"), surrogate("bsilu"), near, surrogate("bsilu")])
    assert (first.closest, first.distance) == (None, None)
    assert second.closest == "ReLU" and second.distance > 0.3
    assert third.closest == "B-SiLU(α=1.67)" and 0 < third.distance < 0.01
    assert again == second


def test_refused_draws_are_told_by_reason():
    study = StudyView("s", Path("s"), {}, (), (), {}, None, {"max_gain": 3, "duplicate": 12, "pole": 3})
    assert refused_line(study) == "Drawn but not proposed: 12 duplicate, 3 max_gain, 3 pole"
