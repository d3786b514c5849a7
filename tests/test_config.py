"""Configuration: sources, precedence, slots, and errors that name the place, the plugin and the field."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from distributions import defaults, install, plugin_module, site  # noqa: F401
from shapegen.config import SLOTS, RunConfig, Slot
from shapegen.configfile import to_yaml
from shapegen.discovery import discover
from shapegen.errors import ConfigError, PluginCollisionError, PluginNotFoundError, PluginRaisedError
from shapegen.hookspecs import KINDS
from shapegen.presets import PRESETS
from shapegen.settings import load_config, resolve


@pytest.fixture
def load(defaults):
    catalog = discover()

    def load(**arguments):
        return load_config(catalog, **arguments)

    return load


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_defaults_are_resolved_with_the_plugins_own_defaults(load):
    config = load()
    assert config.preset == "cpu"
    assert config.denoiser == Slot(name="transformer", options={"depth": 4, "rate": 0.5})
    assert [slot.name for slot in config.metrics][:2] == ["volume-iou", "chamfer-l1"]
    assert set(SLOTS.values()) <= set(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "denoiser: {name: unet1d, depth: 7}",
        "denoiser:\n  name: unet1d\n  options:\n    depth: 7",
        "denoiser: {name: unet1d, options: {depth: '7'}}",
    ],
)
def test_flat_and_nested_slots_mean_the_same(load, tmp_path, text):
    config = load(file=write(tmp_path, "run.yaml", text))
    assert config.denoiser == Slot(name="unet1d", options={"depth": 7, "rate": 0.5})


def test_toml_and_yaml_mean_the_same(load, tmp_path):
    one = load(
        file=write(tmp_path, "a.toml", 'seed = 3\nmetrics = ["mmd"]\n[denoiser]\nname = "unet1d"\nrate = 1e-3\n')
    )
    two = load(file=write(tmp_path, "b.yaml", "seed: 3\nmetrics: [mmd]\ndenoiser: {name: unet1d, rate: 1e-3}\n"))
    assert one == two
    assert one.denoiser.options["rate"] == 0.001


def test_precedence_preset_file_flags_set(load, tmp_path):
    file = write(tmp_path, "run.yaml", "preset: smoke\ndiffusion: {steps: 11, batch: 12, patience: 13}\nseed: 1\n")
    config = load(file=file, flags={"seed": 2, "device": None}, sets=["diffusion.batch=99", "diffusion.patience=5"])
    assert config.diffusion.sampler_steps == PRESETS["smoke"]["diffusion"]["sampler_steps"]
    assert (config.diffusion.steps, config.diffusion.batch, config.diffusion.patience) == (11, 99, 5)
    assert (config.seed, config.device) == (2, "auto")
    assert load(file=file, flags={"preset": "cpu"}).sample.count == RunConfig().sample.count


def test_options_stay_with_their_plugin(load, tmp_path):
    file = write(tmp_path, "run.yaml", "denoiser: {name: transformer, depth: 9}")
    assert load(file=file, flags={"denoiser": "transformer"}).denoiser.options["depth"] == 9
    assert load(file=file, flags={"denoiser": "unet1d"}).denoiser.options["depth"] == 4
    switched = load(file=file, flags={"denoiser": "unet1d"}, sets=["denoiser.depth=2"])
    assert switched.denoiser == Slot(name="unet1d", options={"depth": 2, "rate": 0.5})
    assert load(sets=["denoiser.depth=6"]).denoiser == Slot(name="transformer", options={"depth": 6, "rate": 0.5})
    assert load(sets=["denoiser.name=unet1d", "denoiser.options.depth=3"]).denoiser.options["depth"] == 3


def test_set_takes_yaml(load):
    config = load(sets=["metrics=[mmd, {name: coverage}]", "split={folds: 5, fold: 2}", "cache=", "data=[]"])
    assert [slot.name for slot in config.metrics] == ["mmd", "coverage"]
    assert (config.split.folds, config.split.fold, config.split.test) == (5, 2, 0.15)
    assert config.cache is None


def test_empty_section_changes_nothing(load, tmp_path):
    assert load(file=write(tmp_path, "run.yaml", "split:\ndenoiser:\n")) == load()
    assert load(file=write(tmp_path, "empty.yaml", "")) == load()


def test_resolved_configuration_reads_back_to_itself(load, tmp_path):
    config = load(flags={"preset": "smoke", "denoiser": "unet1d"}, sets=["denoiser.depth=2", "seed=5"])
    file = write(tmp_path, "config.yaml", to_yaml(config))
    assert load(file=file) == config
    assert load(base=yaml.safe_load(file.read_text())) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fit_the_record(preset):
    RunConfig.model_validate({**PRESETS[preset], "preset": preset})


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fit_the_default_plugins(preset, monkeypatch):
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "shapegen")
    config = load_config(discover(), flags={"preset": preset})
    assert config.preset == preset
    assert config.denoiser.options


def test_paths_do_not_depend_on_the_working_folder(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lits").mkdir()
    config = load(
        flags={"data": ["lits", "lits:btcv", "/absent", "C:/absent:x"]}, sets=["cache=here", "split.file=s.json"]
    )
    assert config.data == (str(tmp_path / "lits"), f"{tmp_path / 'lits'}:btcv", "/absent", "C:/absent:x")
    assert config.cache == str(tmp_path / "here")
    assert config.split.file == str(tmp_path / "s.json")


ERRORS = [
    (
        "diffusion.stepz=3",
        ["--set diffusion.stepz=3", "unknown key 'diffusion.stepz'", "did you mean 'diffusion.steps'"],
    ),
    ("weight-space=full", ["unknown key 'weight-space'", "'weight_space'"]),
    ("completely_other=1", ["unknown key 'completely_other'", "there are preset, seed"]),
    ("diffusion.steps=-3", ["diffusion.steps", "greater than or equal to 1", "got -3"]),
    ("diffusion.learning_rate=.nan", ["diffusion.learning_rate", "finite"]),
    ("diffusion.process=ddpm", ["diffusion.process", "'edm' or 'flow'", "got 'ddpm'"]),
    ("diffusion.sampler=euler", ["diffusion", "'euler' needs process 'flow'"]),
    ("seed=x", ["seed", "integer", "got 'x'"]),
    ("split.test=0.9", ["split", "leave nothing to train on"]),
    ("split={folds: 3, fold: 3}", ["split", "fold counts from 0"]),
    ("preset=big", ["preset", "'micro', 'smoke', 'few', 'cpu' or 'paper'", "got 'big'"]),
    ("metrics=mmd", ["metrics", "got 'mmd'"]),
    ("metrics=[mmd, mmd]", ["metrics: 'mmd' is named twice"]),
    ("denoiser=3", ["denoiser", "got 3"]),
    ("denoiser={depth: 1, options: {depth: 2}}", ["denoiser", "'depth' is given twice"]),
    ("denoiser={name: unet1d, options: 5}", ["denoiser", "mapping", "got 5"]),
    (
        "denoiser.dpeth=6",
        ["denoiser/transformer (fake-defaults 1.0)", "unknown option 'dpeth'", "did you mean 'depth'"],
    ),
    ("denoiser.depth=0", ["denoiser/transformer", "depth", "greater than or equal to 1", "got 0"]),
    ("denoiser.rate=fast", ["denoiser/transformer", "rate", "got 'fast'", "shapegen show denoiser/transformer"]),
    ("inr.colour=3", ["inr/siren", "unknown option 'colour'", "there are depth, rate"]),
    ("metrics=[{name: mmd, points: 3}]", ["metric/mmd", "unknown option 'points'", "there are none"]),
]


@pytest.mark.parametrize(("text", "parts"), ERRORS)
def test_errors_name_place_plugin_and_field(load, text, parts):
    with pytest.raises(ConfigError) as caught:
        load(sets=[text])
    for part in [*parts, f"--set {text}"]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_error_names_the_file_that_holds_the_value(load, tmp_path):
    file = write(tmp_path, "run.yaml", "diffusion: {steps: 0}\ndenoiser: {name: unet1d, depth: 0}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: diffusion\.steps.*got 0") as caught:
        load(file=file, sets=["diffusion.batch=3"])
    assert "--set" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"run\.yaml: denoiser/unet1d .*depth"):
        load(file=file, sets=["diffusion.steps=1"])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "seed: 1\nseed: 2\n", "line 2, column 1: key 'seed' is given twice"),
        ("a.yaml", "seed: [1\n", "line 2"),
        ("a.yaml", "- seed\n", "expected `key: value` lines, got list"),
        ("a.yaml", "seed: !!python/object/apply:os.system [echo]\n", "could not determine a constructor"),
        ("a.toml", "seed = = 1\n", "line 1"),
        ("a.ini", "seed=1\n", "is a .yaml, .yml, .json or .toml file"),
    ],
)
def test_unusable_files_are_one_line(load, tmp_path, name, text, expected):
    with pytest.raises(ConfigError) as caught:
        load(file=write(tmp_path, name, text))
    assert expected in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_file(load, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bytes\.yaml"):
        load(file=tmp_path / "bytes.yaml")


@pytest.mark.parametrize("text", ["denoiser.depth", "=3", "a..b=3", ".a=1", "metrics.mmd.points=3", "seed=[1"])
def test_malformed_set(load, text):
    with pytest.raises(ConfigError, match="--set"):
        load(sets=[text])


def test_unknown_plugin_names_the_place(load):
    with pytest.raises(PluginNotFoundError, match=r"--set inr=sirne: no inr named 'sirne'\. Did you mean 'siren'"):
        load(sets=["inr=sirne"])


def test_collision_only_matters_where_the_name_is_used(defaults, monkeypatch):
    source = plugin_module("shapegen_denoisers", "transformer")
    install(defaults, "shapegen-other", points={"m": "fake_other"}, modules={"fake_other": source})
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "fake-defaults,shapegen-other")
    catalog = discover()
    with pytest.raises(PluginCollisionError, match="transformer"):
        load_config(catalog)
    config = load_config(catalog, flags={"denoiser": "shapegen-other:transformer"}, sets=["denoiser.depth=2"])
    assert config.denoiser == Slot(name="shapegen-other:transformer", options={"depth": 2})
    assert load_config(catalog, flags={"denoiser": "unet1d"}).denoiser.name == "unet1d"


def test_plugin_whose_validation_raises_is_named(load):
    with pytest.raises(
        PluginRaisedError, match=r"denoiser/fragile \(fake-defaults 1\.0\).*RuntimeError: validator bug"
    ):
        load(flags={"denoiser": "fragile"})


def test_resolve_is_idempotent(load, defaults):
    config = load()
    assert resolve(config, discover()) == config


@settings(deadline=None, max_examples=150)
@given(
    name=st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True),
    options=st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.none()),
        max_size=4,
    ),
)
def test_slots_survive_writing_and_reading(name, options):
    slot = Slot(name=name, options=options)
    assert Slot.model_validate(yaml.safe_load(yaml.safe_dump(slot.model_dump(mode="json")))) == slot


@settings(deadline=None, max_examples=100, suppress_health_check=[])
@given(text=st.text(alphabet="abm.=[]{}:,-13 \"'&*!|>\t\n", max_size=25))
def test_any_set_text_gives_a_configuration_or_a_clear_error(text):
    from shapegen.configfile import parse_set

    try:
        parsed = parse_set(text)
    except ConfigError as error:
        message = str(error)
    else:
        assert len(parsed) == 1
        message = "--set"
    assert message.startswith("--set")
    assert "\n" not in message.removeprefix(f"--set {text}")
