"""The command line and the configuration file."""

import configparser
import importlib
import re
from pathlib import Path

import pytest
from commandline import ROOT
from hypothesis import given
from hypothesis import strategies as st

from realtime.cli import parse
from realtime.config_file import as_toml
from realtime.errors import UsageError
from realtime.options import build_parser


def test_defaults_and_given_values() -> None:
    settings = parse(["--input", "walk.mp4", "--start", "2.5s", "--end", "90", "--stride", "2"])
    assert settings.input == ("walk.mp4",) and settings.device == ()
    assert (settings.span.start, settings.span.end, settings.span.stride) == (2.5, 90, 2)
    assert settings.detect_every is None and not settings.headless and settings.output is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "--nonsense"),
        (["--detect-every", "two"], "detect-every"),
        (["--detect-every", "0"], "expected 1 to 1000"),
        (["--bridge", "-1"], "expected 0 to 100"),
        (["--min-score", "1.5"], "expected 0 to 1"),
        (["--min-score", "nan"], "expected 0 to 1"),
        (["--crf", "52"], "expected 0 to 51"),
        (["--crf", "10.5"], "argument --crf: expected a whole number, got '10.5'"),
        (["--min-score", "high"], "argument --min-score: expected a number, got 'high'"),
        (["--json", ""], "argument --json: the name is empty"),
        *(
            ([flag, ""], f"argument {flag}: the name is empty")
            for flag in ("--output", "--report", "--explain", "--pose", "--config", "--log-file")
        ),
        (["--report", "-"], "argument --report: only --json writes to standard output"),
        (["--start", "soon"], "seconds"),
        (["--start", "9" * 400], "seconds"),
        (["--data", "a" * 5000], "a name ending in"),
        (["--end=-3s"], "seconds"),
        (["--end", "infs"], "seconds"),
        (["--camera-size", "big"], "1280x720"),
        (["--device", "-1"], "not a camera number"),
        (["--device", "/dev/video"], "not a camera number"),
        (["--detect_every", "5"], "did you mean --detect-every?"),
        (["--ouput=x.mp4"], "did you mean --output?"),
        (["--camera", "0"], "unknown option --camera; did you mean --device?"),
        (["-o", "x.mp4"], "did you mean --output?"),
        (["--csv=x.csv"], "did you mean --data?"),
        (["walk.mp4"], "--input walk.mp4"),
        (["--input", "a.mp4", "b.mp4"], "--input b.mp4"),
        (["--show", "--headless"], "exclude"),
        (["--fullscreen", "--headless"], "exclude"),
        (["--screenshot", "x.jpg"], "--screenshot x.jpg: expected a name ending in .png"),
        (["--screenshot", "x.png", "--report", "x.png"], "same name"),
        (["--output", "x.txt"], ".mp4"),
        (["--json", "x.csv"], "give it as --data x.csv"),
        (["--segment", "60"], "goes with --output"),
        (["--pictures", "."], "a folder of its own"),
        (["--segment", "0.5", "--output", "x.mp4"], "1 second or more"),
        (["--segment", "nan", "--output", "x.mp4"], "1 second or more"),
        (["--output", "x.mp4", "--json", "x.mp4"], "same name"),
        (["--engine", "magic"], "--engine magic: choose auto, "),
        (["--overlay", "blue"], "--overlay blue: choose skeleton, heatmap, boxes, black"),
        (["--smooth", "on"], "--smooth on: choose display, data, all, off"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
def test_mistakes_are_one_line_with_the_option(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=".") as caught:
        parse(arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def config(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "測試 config.toml"
    path.write_text(text, encoding="utf-8")
    return ["--config", str(path)]


def test_config_gives_values_and_the_command_line_wins(tmp_path: Path) -> None:
    text = 'input = "demo"\ndetect-every = 5\nmin-score = 1\nheadless = true\ndevice = []\n'
    given_config = config(tmp_path, text)
    settings = parse([*given_config, "--detect-every", "3"])
    assert settings.input == ("demo",) and settings.headless
    assert settings.detect_every == 3 and settings.min_score == 1
    assert parse([*given_config, "--input", "x.mp4"]).input == ("x.mp4",)


def test_a_source_on_the_command_line_takes_the_place_of_the_configured_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("device = 0\nheadless = true\n", encoding="utf-8")
    settings = parse(["--config", str(path), "--input", "x.mp4"])
    assert (settings.device, settings.input, settings.headless) == ((), ("x.mp4",), True)
    assert parse(["--config", str(path)]).device == (0,)


@pytest.mark.parametrize(
    "line",
    [
        "unknown = 1",
        "detect_every = 2",
        'detect-every = "2"',
        "detect-every = 2.5",
        "detect-every = true",
        "headless = 1",
        'engine = "magic"',
        "input = 3",
        'device = ["0"]',
        "min-score = nan",
        "output = 7",
        "camera-size = [1, 2]",
        "config = 'a.toml'",
        f"min-score = {'9' * 400}",
        "help = true",
        "broken",
        "a = " + "[" * 3000,
    ],
)
def test_a_wrong_config_names_the_key(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(config(tmp_path, line + "\n"))
    key = line.split(" ")[0]
    assert "\n" not in str(caught.value)
    assert key in str(caught.value) or "not a TOML file" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("end = 2.5", 'end = 2.5: write "2.5s" for seconds, 2 for a frame number'),
        ("start = 12345.678", 'start = 12345.678: write "12345.678s" for seconds, 12346 for a'),
        ("detect_every = 2", "unknown key 'detect_every'; did you mean detect-every?"),
        ("detct-every = 2", "unknown key 'detct-every'; did you mean detect-every?"),
        ("unknown = 1", "unknown key 'unknown'; keys are the long flag names"),
        ("input = 3", "input = 3: expected a string, or a list of such"),
    ],
)
def test_a_wrong_config_says_what_to_write(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f".toml: {says}")):
        parse(config(tmp_path, line + "\n"))


def test_a_video_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom\xa9\xff")
    with pytest.raises(UsageError, match=r"video\.mp4: not a text file"):
        parse(["--config", str(tmp_path / "video.mp4")])


def test_print_config_can_be_read_back(tmp_path: Path) -> None:
    settings = parse(
        ["--input", 'C:\\a "b".mp4', "--start", "3s", "--camera-size", "640x480", "--json", "-"]
    )
    assert parse(config(tmp_path, as_toml(settings))) == settings


def test_the_help_names_every_other_command_and_each_is_there() -> None:
    """As setup.cfg installs them, with --help of their own; and the Python interface."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    commands = dict(script.split(" = ") for script in scripts if script)
    assert {"posestream-clean", "posestream-report"} <= set(commands)
    usage = build_parser().format_help()
    for name, place in commands.items():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert name == "posestream" or name in usage
    assert "from realtime import stream, run, load" in usage


def test_the_chinese_readme_knows_all_that_the_english_one_tells_to_use() -> None:
    """Options, commands, addresses of other documents and installations."""
    english, chinese = (
        (ROOT / f"README{language}.md").read_text(encoding="utf-8") for language in ("", ".zh-TW")
    )
    use = english.partition("## Use")[2].partition("## How it works")[0]
    for told in (r"--[a-z][a-z-]+", r"python -m [\w.]+", r"docs/\w+\.md", r"\w+\.py", r"\[\w+\]\""):
        known = set(re.findall(told, use)) - {"test_parity.py"}
        assert known and known <= set(re.findall(told, chinese)), told


words = st.text(max_size=12)
options = st.sampled_from(
    "--input --device --start --end --stride --crf --camera-size --min-score --detect-every "
    "--json --output --engine --compute --seed --batch --headless --quiet -v".split()
)


@given(st.lists(st.one_of(options, words), max_size=6))
def test_any_arguments_give_settings_or_a_usage_error(arguments: list[str]) -> None:
    try:
        parse([a for a in arguments if not a.startswith(("-h", "--h"))])
    except UsageError as error:
        assert "\n" not in str(error) or any("\n" in a for a in arguments)


values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False).map(repr), st.just('"x"')),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["input", "device", "start", "crf", "camera-size", "headless", "json", "x"])


@given(st.dictionaries(keys, values, max_size=4))
def test_any_config_gives_settings_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, object]
) -> None:
    text = "\n".join(f"{key} = {str(value).lower()}" for key, value in table.items())
    path = tmp_path_factory.mktemp("config") / "c.toml"
    path.write_text(text, encoding="utf-8")
    try:
        parse(["--config", str(path)])
    except UsageError as error:
        assert "\n" not in str(error)
