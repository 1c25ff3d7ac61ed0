"""The command line: what it writes, what it says, and with which exit code it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import av
import pytest
import torch
from narrow_checkpoint import load_narrow
from PIL import Image
from safetensors.torch import load_file

from vcd_core.identity import Recipe, TrainingDiverged, TrainingOptions, load_id_token
from vcd_core.motion import MotionModule
from vcd_core.standalone import cli, console, pipeline
from vcd_core.standalone.argument_values import file_and_strength
from vcd_core.standalone.parser import build_parser
from vcd_core.standalone.pipeline import ClipOptions

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def plain(files, tmp_path_factory):
    """The vectors of a training at a high learning rate, without other options."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "load_checkpoint", load_narrow)
        arguments = train_arguments(files, **{"--out": folder, "--learning-rate": 0.1})
        assert cli.main([str(word) for word in arguments]) == 0
    return load_file(folder / "ava.safetensors")["clip_l"]


def train_arguments(files, **changes):
    options = {"--name": "ava", "--noun": "woman", "--checkpoint": files / "sd15.safetensors", "--out": "embeddings"}
    options |= {"--steps": 2, "--batch-size": 2, "--size": 64} | changes
    return ["train", files / "photos", "--no-augmentation", *(word for pair in options.items() for word in pair)]


def t2v_arguments(files, prompt="a photo of embedding:ava woman on a beach", **changes):
    options = {"--checkpoint": files / "sd15.safetensors", "--motion-module": files / "motion.safetensors"}
    options |= {"--frames": 3, "--size": 64, "--steps": 2} | changes
    return ["t2v", prompt, "clip.mp4", *(word for pair in options.items() for word in pair)]


def video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return len([*container.decode(stream)]), stream.width, stream.height, float(stream.average_rate)


def test_photos_become_a_token_and_the_token_a_clip(vcd, files, tmp_path):
    arguments = train_arguments(files)
    arguments.remove("--no-augmentation")
    code, out, err = vcd(*arguments)
    assert code == 0, err
    assert "embedding:ava woman" in out
    token = load_id_token(tmp_path / "embeddings/ava.safetensors")
    assert (token.vectors.shape, token.noun, token.steps, token.base) == ((4, 32), "woman", 2, "sd15")
    assert "learning the woman" in err

    code, out, err = vcd(*t2v_arguments(files, **{"--motion-lora": f"{files / 'lora.safetensors'}:0.6", "--fps": 12}))
    assert code == 0, err
    assert "clip.mp4: 3 frames" in out
    assert video(tmp_path / "clip.mp4") == (3, 64, 64, 12.0)
    assert "sampling" in err
    assert "decoding" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "clip.mp4.json", "embeddings"]


def test_a_motion_lora_acts_with_its_strength(files):
    def loaded(*loras):
        return console.motion_of(Namespace(motion_module=files / "motion.safetensors", motion_lora=loras))

    plain, changed = loaded(), loaded((files / "lora.safetensors", 0.6))
    name = "down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.1"
    lora = load_file(files / "lora.safetensors")
    up, down = (lora[f"{name}.processor.to_q_lora.{half}.weight"].float() for half in ("up", "down"))
    weights = [module.state_dict()[f"{name}.to_q.weight"].cpu() for module in (plain, changed)]
    torch.testing.assert_close(weights[1], weights[0] + 0.6 * up @ down)
    assert isinstance(plain, MotionModule)


def test_a_name_is_reused_for_the_same_settings_and_numbered_for_others(vcd, files, tmp_path):
    folder = tmp_path / "embeddings"
    assert vcd(*train_arguments(files))[0] == 0
    first = load_file(folder / "ava.safetensors")["clip_l"]
    code, out, err = vcd(*train_arguments(files))
    assert code == 0
    assert "ava was trained on the same photos with the same settings" in out
    assert "learning" not in err
    code, out, _ = vcd(*train_arguments(files, **{"--seed": 1}))
    assert code == 0
    assert "write 'embedding:ava_2 woman' into a prompt" in out
    assert torch.equal(load_file(folder / "ava.safetensors")["clip_l"], first)
    assert vcd(*train_arguments(files, **{"--seed": 1}), "--overwrite")[0] == 0
    second = load_file(folder / "ava.safetensors")["clip_l"]
    assert torch.equal(second, load_file(folder / "ava_2.safetensors")["clip_l"])
    assert not torch.equal(second, first)


@pytest.mark.parametrize(
    "option",
    [
        ("--initial-words", "man"),
        ("--weight-decay", "5"),
        ("--noise-offset", "0"),
        ("--linear-schedule",),
        ("--precision", "bfloat16"),
    ],
)
def test_every_option_of_training_acts(vcd, files, plain, tmp_path, option):
    code, _, err = vcd(*train_arguments(files, **{"--learning-rate": 0.1}), *option)
    assert code == 0, err
    changed = load_file(tmp_path / "embeddings/ava.safetensors")["clip_l"]
    assert not torch.equal(plain, changed)
    assert torch.isfinite(changed).all()


def test_activations_that_are_kept_change_nothing(vcd, files, tmp_path):
    for out, more in (("plain", ()), ("kept", ("--keep-activations",))):
        assert vcd(*train_arguments(files, **{"--out": out}), *more)[0] == 0
    plain, kept = (load_file(tmp_path / out / "ava.safetensors")["clip_l"] for out in ("plain", "kept"))
    torch.testing.assert_close(plain, kept, rtol=0, atol=1e-6)


def test_a_killed_training_goes_on_and_ends_as_an_unbroken_one(vcd, files, tmp_path):
    """SIGKILL after the first checkpoint. No fork of this process, which may hold a GPU."""
    arguments = [str(word) for word in train_arguments(files, **{"--steps": 12})]
    folder = tmp_path / "embeddings"
    code = """
import sys
from narrow_checkpoint import load_narrow
from vcd_core.standalone import cli, console, pipeline
console.load_checkpoint, pipeline.SAVE_EVERY = load_narrow, 2
cli.main(sys.argv[1:])
"""
    threads = str(torch.get_num_threads())  # other numbers sum in another order
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": threads}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment) as running:
        while not list(folder.glob("ava-*.training")) and running.poll() is None:
            time.sleep(0.01)
        running.kill()
    assert running.returncode == -signal.SIGKILL
    (kept,) = folder.glob("*.training")
    assert [path for path in folder.iterdir() if path.suffix != ".part"] == [kept]

    code, _, err = vcd(*arguments)
    assert code == 0, err
    assert re.search(r"learning the woman:\s+\d+%\|[^|]*\| [2-9]/12", err.replace("\r", "\n")), err
    assert [path.name for path in kept.parent.iterdir() if path.suffix != ".part"] == ["ava.safetensors"]
    resumed = load_file(kept.parent / "ava.safetensors")["clip_l"]
    assert vcd(*arguments, "--overwrite")[0] == 0
    assert torch.equal(load_file(kept.parent / "ava.safetensors")["clip_l"], resumed)


def test_tokens_are_listed_with_their_pictures(vcd, files, tmp_path):
    assert vcd(*train_arguments(files))[0] == 0
    assert vcd(*train_arguments(files, **{"--name": "bob", "--noun": "man"}))[0] == 0
    code, out, _ = vcd("tokens", "embeddings", "--sheet", "sheet.png")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[:2]] == [["ava", "woman"], ["bob", "man"]]
    assert "4 vectors of 32, 2 steps" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 2 * 128


def test_a_token_of_another_tool_becomes_ours(vcd, tmp_path):
    vectors = torch.randn(4, 768)
    torch.save({"string_to_param": {"*": vectors}}, tmp_path / "mary.pt")
    assert vcd("convert", "mary.pt", "--noun", "woman")[0] == 0
    token = load_id_token(tmp_path / "embeddings/mary.safetensors")
    assert torch.equal(token.vectors, vectors)
    assert token.noun == "woman"
    code, _, err = vcd("convert", "mary.pt")
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (lambda f: train_arguments(f, **{"--name": "../ava"}), "token name '../ava' cannot be used"),
        (lambda f: train_arguments(f, **{"--noun": " "}), "noun is empty"),
        (lambda f: train_arguments(f, **{"--checkpoint": "no.safetensors"}), "no file no.safetensors"),
        (lambda f: train_arguments(f, **{"--checkpoint": f / "motion.safetensors"}), "looks like a motion module"),
        (lambda f: train_arguments(f, **{"--out": f / "sd15.safetensors"}), ".safetensors is a file, name a folder"),
        (lambda f: train_arguments(f, **{"--out": "/proc/nowhere"}), "/proc/nowhere: nothing can be written to /proc"),
        (lambda f: ["tokens", "nowhere"], "no folder nowhere"),
        (lambda f: ["tokens", f / "photos"], "no ID tokens in"),
        (lambda f: ["convert", "no.pt"], "no file no.pt"),
        (lambda f: ["convert", f / "motion.safetensors"], "holds no ID token"),
        (lambda f: ["train", "nowhere", *train_arguments(f)[2:]], "no folder nowhere"),
        (lambda f: t2v_arguments(f), "no folder embeddings to take embedding:ava from"),
        (lambda f: t2v_arguments(f, "a cat", **{"--motion-module": f / "sd15.safetensors"}), "not a motion module"),
        (lambda f: t2v_arguments(f, "a cat", **{"--motion-lora": f / "motion.safetensors"}), "not a motion LoRA"),
        (lambda f: t2v_arguments(f, "a cat", **{"--frames": 40}), "--frames 40"),
        (lambda f: t2v_arguments(f, "cat " * 80), "shorten it"),
        (lambda f: ["t2v", "a cat", "clip.gif", "--checkpoint", "x"], "must end in .mp4"),
        (
            lambda f: ["t2v", "a cat", "a.mp4", "--checkpoint", f / "sd15.safetensors", "--motion-lora", "y"],
            "add --motion-module",
        ),
    ],
)
def test_what_the_user_can_put_right_is_one_line_and_exit_code_2(vcd, files, tmp_path, arguments, complaint):
    code, _, err = vcd(*arguments(files))
    assert code == 2
    last = err.strip().splitlines()[-1]
    assert last.startswith("vcd: ")
    assert complaint in last
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_wrong_with_each_photo_is_told_in_one_line(vcd, files, tmp_path):
    for number in (1, 2):
        Image.new("RGB", (64, 64), "red").save(tmp_path / f"{number}.png")
        Image.new("L", (64, 64)).save(tmp_path / f"{number}.mask.png")
    code, _, err = vcd("train", tmp_path, *train_arguments(files)[2:])
    assert code == 2
    assert err.count("\n") == 1
    assert "its masks; left out 1.png: its mask is empty" in err
    assert "without a mask; left out 2.png" in err


@pytest.mark.parametrize(
    "option",
    [
        ("--steps", "0"),
        ("--size", "100"),
        ("--seed", "-1"),
        ("--learning-rate", "nan"),
        ("--batch-size", "x"),
        ("--early-stop", "-1"),
        ("--weight-decay", "-1"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_loaded(files, capsys, option):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(word) for word in train_arguments(files, **dict([option]))])
    assert caught.value.code == 2
    assert f"argument {option[0]}: must be" in capsys.readouterr().err


@pytest.mark.parametrize("gamma", ["1.5", "-0.1", "nan", "much"])
def test_gamma_lies_between_0_and_1(files, capsys, gamma):
    with pytest.raises(SystemExit):
        cli.main([str(word) for word in t2v_arguments(files, **{"--gamma": gamma})])
    assert "argument --gamma: must be a number from 0 to 1" in capsys.readouterr().err


def test_a_missing_motion_module_is_said(vcd, files):
    arguments = t2v_arguments(files, "a cat")
    place = arguments.index("--motion-module")
    code, out, err = vcd(*arguments[:place], *arguments[place + 2 :])
    assert code == 0, err
    assert "no motion module" in out


def test_training_that_diverges_keeps_the_last_good_vectors(vcd, files, tmp_path, monkeypatch):
    real = pipeline.train_id_token

    def diverging(*arguments, **more):
        good = next(real(*arguments, **more))
        yield good
        raise TrainingDiverged("loss", 2, 1e-3, good)

    monkeypatch.setattr(pipeline, "train_id_token", diverging)
    code, _, err = vcd(*train_arguments(files))
    assert code == 2
    assert "Lower the learning rate" in err
    assert "The vectors of step 1 were kept in embeddings/ava_partial.safetensors" in err
    assert load_id_token(tmp_path / "embeddings/ava_partial.safetensors").steps == 1
    assert not (tmp_path / "embeddings/ava.safetensors").exists()


@pytest.mark.parametrize("place", ["train_id_token", "karras_sigmas"])
def test_ctrl_c_leaves_nothing_behind(vcd, files, tmp_path, monkeypatch, place):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    if place == "train_id_token":
        monkeypatch.setattr(pipeline, "train_id_token", interrupt)
        code, _, err = vcd(*train_arguments(files))
    else:
        monkeypatch.setitem(pipeline.SCHEDULERS, "karras", interrupt)
        code, _, err = vcd(*t2v_arguments(files, "a cat"))
    assert code == 130
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_missing_package_names_the_extra_and_any_other_is_a_bug():
    named = pytest.raises(cli.MissingPackage, match=r"package diffusers .*pip install '\.\[standalone\]'")
    with named, cli.explained_imports():
        raise ModuleNotFoundError("no", name="diffusers.loaders")
    with pytest.raises(ModuleNotFoundError, match="ours"), cli.explained_imports():
        raise ModuleNotFoundError("ours", name="vcd_core.absent")


def test_a_missing_package_is_one_line_for_the_user(vcd, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    code, _, err = vcd(*train_arguments(files))
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install '.[standalone]'" in err


def test_help_tells_defaults_where_there_are_any(capsys):
    for command in ("t2v", "v2v", "train", "evaluate"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for default in ("None", "[]", "False", ")"):
        assert f"(default: {default}" not in told
    assert "the same seed gives the same clip (default: 0)" in told


def test_help_is_there_at_once():
    script = (
        "import runpy, sys\n"
        "sys.argv = ['vcd', '--help']\n"
        "try:\n    runpy.run_module('vcd_core', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print({'torch', 'numpy', 'diffusers', 'transformers', 'av', 'tqdm'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "train" in run.stdout
    assert "t2v" in run.stdout
    assert run.stdout.splitlines()[-1] == "set()"


def test_defaults_are_those_of_the_library():
    train = build_parser().parse_args(["train", "p", "--name", "a", "--noun", "b", "--checkpoint", "c"])
    options = TrainingOptions()
    for name in (
        "steps",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "hold_norm",
        "context_weight",
        "noise_offset",
        "seed",
        "decay",
    ):
        assert getattr(train, name) == getattr(options, name), name
    recipe = Recipe("b")
    assert (train.size, train.tokens, train.initial_words) == (recipe.size, recipe.token_count, recipe.initial_words)
    assert train.mask_margin == recipe.mask_margin
    assert (train.no_augmentation, train.early_stop) == (recipe.augmentation is None, options.patience)
    t2v = build_parser().parse_args(["t2v", "p", "c.mp4", "--checkpoint", "c"])
    for name, default in vars(ClipOptions()).items():
        assert getattr(t2v, name) == default, name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zoom.ckpt", ("zoom.ckpt", 1.0)),
        ("zoom.ckpt:0.6", ("zoom.ckpt", 0.6)),
        ("zoom.ckpt:-1", ("zoom.ckpt", -1.0)),
        ("C:/loras/zoom.ckpt", ("C:/loras/zoom.ckpt", 1.0)),
        ("C:/loras/zoom.ckpt:0.6", ("C:/loras/zoom.ckpt", 0.6)),
    ],
)
def test_a_motion_lora_is_a_file_and_perhaps_a_strength(text, expected):
    file, strength = file_and_strength(text)
    assert (str(file), strength) == expected
