"""Search spaces: what the shipped files propose, and how a broken file is refused."""

import random

import pytest

from sugar_search import catalog
from sugar_search.errors import FileError, FormulaError
from sugar_search.search.pinned import load_baselines
from sugar_search.search.space import load_space
from sugar_search.search.space_table import Replay

SPACES = catalog.names("spaces")


class Dice:
    """A chooser that rolls dice and checks that a name always stands for one distribution."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seen = {}

    def _same(self, name, distribution):
        assert self.seen.setdefault(name, distribution) == distribution, name

    def categorical(self, name, options, weights=None):
        self._same(name, (tuple(options), weights))
        return self.rng.choices(list(options), weights)[0]

    def float(self, name, low, high, log):
        self._same(name, (low, high, log))
        return self.rng.uniform(low, high)


@pytest.mark.parametrize("name", SPACES)
def test_draws_are_admissible_or_refused_and_names_keep_their_distribution(name):
    space, dice, admitted = load_space(name), Dice(1), set()
    for _ in range(40):
        try:
            admitted.add(space.draw(dice))
        except FormulaError:
            continue
    assert len(admitted) > 15


@pytest.mark.parametrize("name", SPACES)
def test_choices_lead_back_to_the_surrogate(name):
    space = load_space(name)
    dice, found = Dice(2), 0
    for _ in range(15):
        try:
            drawn = space.draw(dice)
        except FormulaError:
            continue
        if (choices := space.choices(drawn)) is not None:
            assert space.draw(Replay(choices)) == drawn
            found += 1
    assert found >= 13


@pytest.mark.parametrize(("name", "outside"), [("families", ["ReLU"]), ("grammar", []), ("mixed", [])])
def test_the_spaces_hold_the_papers_baselines(name, outside):
    space = load_space(name)
    assert [s.title for s in load_baselines() if space.choices(s) is None] == outside


def test_digest_follows_content_not_description(tmp_path):
    text = catalog.find("spaces")["families"].read_text()
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "b.toml").write_text(text.replace('description = "', 'description = "Other: '))
    (tmp_path / "c.toml").write_text(text.replace("high = 4.0", "high = 3.0", 1))
    a, b, c = (load_space(str(tmp_path / f"{n}.toml")).digest for n in "abc")
    assert a == b != c


def test_a_broken_file_lists_every_fault_in_one_line(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        'description = "x"\nkind = "families"\nextra = 1\nregions = ["some"]\n'
        "[families.bsilu]\nalhpa = { low = 0.1, high = 1.0 }\n"
        "[families.nope]\n[families.nelu]\nalpha = { low = 0.5, high = 0.1 }\n"
    )
    with pytest.raises(FileError) as caught:
        load_space(str(path))
    message = str(caught.value)
    assert "\n" not in message
    for words in ("bad.toml", "extra", "regions", "must be all or negative, not 'some'", "low must be below high"):
        assert words in message
    path.write_text(
        'description = "x"\nkind = "families"\n[families.bsilu]\nalhpa = { low = 0.1, high = 1.0 }\n[families.nope]\n'
    )
    with pytest.raises(FileError, match=r"bsilu\.alhpa.*alpha.*nope"):
        load_space(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = ", "must be valid TOML"),
        ('description = "x"\nkind = "other"\n', "families"),
        ('description = "x"\nkind = "mixed"\nspaces = ["families", "nope"]\n', "nope"),
        ('description = "x"\nkind = "grammar"\nstart = "s"\nmax_depth = 3\n[rules]\ns = ["sigmoid(y)", "q(x)"]\n', "y"),
        ('description = "x"\nkind = "families"\n[families.bsilu]\nalpha = { low = -50.0, high = nan }\n', "finite"),
    ],
)
def test_malformed_files_name_file_and_rule(tmp_path, text, words):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(FileError, match=r"space\.toml") as caught:
        load_space(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
