"""What is checked, what is skipped and why, and what is known of registered names."""

import pytest

from jaxal import entropy, strategy
from jaxal.testing import LAWS, BrokenLawError, check_strategy
from jaxal.testing.checking import by_name
from tests.testing.sound import by_margin, ranked, remembering, selecting


def test_what_is_not_asked_about_is_said():
    report = check_strategy(selecting(by_margin, {"logits"}), seeds=(0,))
    assert {"key", "permutation", "chunks", "whole", "utility"} <= set(report.skipped)
    assert "masked" in report.checked
    assert not set(report.checked) & set(report.skipped)
    assert {*report.checked, *report.skipped} == set(LAWS)
    assert {"first rounds", "ways", "rounds", "shapes"} <= set(report.seconds)


def test_a_strategy_that_looks_at_no_row_and_one_with_a_memory():
    report = check_strategy(strategy("random"), seeds=(0,))
    assert {"masked", "bad row"} <= set(report.skipped)
    rounds = remembering(lambda n: [], lambda memory, picks: memory)
    assert "memory" in check_strategy(rounds, seeds=(0,)).checked


def test_a_name_brings_what_is_registered_of_it():
    report = check_strategy("random", seeds=(0,))
    assert report.strategy == "random" and "key" in report.skipped
    with pytest.raises(ValueError, match="margin"):
        check_strategy("margim")


def test_an_expression_is_made_with_settings_for_small_pools():
    made, known = by_name("mixture(random, bait, weights=[1, 0])")
    assert made.name == "mixture(random, bait, weights=[1, 0])"
    assert (known.name, known.most_classes) == ("mixture", 20)
    made, known = by_name("margin")
    assert (made.name, known.is_deterministic, known.most_classes) == (
        "margin",
        True,
        1000,
    )
    by_name("class_balanced(badge_partitioned(parts=2), factor=2)")


def test_flags_can_be_given_for_a_strategy_of_ones_own():
    def choose(key, view):
        return entropy(view.logits)

    report = check_strategy(ranked(choose), is_deterministic=True, seeds=(0,))
    assert {"key", "permutation"} <= set(report.checked)


def test_the_most_classes_are_as_asked():
    def choose(key, view, batch_size):
        assert view.logits.shape[-1] < 50, "so many classes"
        return by_margin(key, view, batch_size)

    assert check_strategy(selecting(choose), most_classes=20, seeds=(0,)).checked
    with pytest.raises(BrokenLawError, match="so many classes") as caught:
        check_strategy(selecting(choose), seeds=(0,))
    assert caught.value.pool.startswith("1,000 classes, float16")


def test_seeds_are_needed():
    with pytest.raises(ValueError, match="seeds=\\(0,\\)"):
        check_strategy(strategy("random"), seeds=())
