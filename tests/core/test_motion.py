"""Laws of the temporal transformer, against diffusers' with its clip-wide norm replaced by the per-frame one."""

import pytest
import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from motion_weights import PerFrameNorm

import vcd_core.motion.transformer as transformer
from vcd_core.motion import MotionConfig, MotionModule, TemporalTransformer, config_from_state_dict
from vcd_core.motion.files import animatediff_name

CLIPS, FRAMES, MAX_FRAMES, CHANNELS = 2, 5, 9, 64
PREFIX = "down_blocks.0.motion_modules.0."
CONFIG = MotionConfig((CHANNELS,), (1,), (1,), mid_block=False, max_frames=MAX_FRAMES, heads=4)


def scatter(module, rng):
    """Gives every weight a random value at which no branch vanishes and no softmax saturates."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=rng)
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 4
            parameter.copy_(noise / fan_in**0.5 + (parameter.ndim == 1))
    return module


def ours_and_oracle(rng, config=CONFIG, per_frame=True):
    channels = config.channels[0]
    oracle = AnimateDiffTransformer3D(
        config.heads,
        channels // config.heads,
        channels,
        activation_fn="geglu",
        positional_embeddings="sinusoidal",
        num_positional_embeddings=config.max_frames,
    )
    if per_frame:
        oracle.norm = PerFrameNorm(32, channels, eps=1e-6)
    scatter(oracle, rng)
    ours = TemporalTransformer(channels, config)
    ours.load_state_dict(
        {
            animatediff_name(PREFIX + key).removeprefix(PREFIX + "temporal_transformer."): value
            for key, value in oracle.state_dict().items()
            if not key.endswith("pos_embed.pe")
        }
        | {key: value for key, value in ours.state_dict().items() if key.endswith("pos_encoder.pe")}
    )
    return ours, oracle


@pytest.fixture
def clip(rng):
    return torch.randn(CLIPS * FRAMES, CHANNELS, 3, 7, generator=rng)


@pytest.fixture(params=["one chunk", "many chunks"])
def chunks(request, monkeypatch):
    if request.param == "many chunks":  # 2 positions each: 21 positions make 10 chunks and a smaller one
        monkeypatch.setattr(transformer, "CHUNK_BYTES_CPU", 0)
        monkeypatch.setattr(transformer, "CHUNK_TOKENS_AT_LEAST", 2 * CLIPS * FRAMES)


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("gradients", [False, True])
def test_output_is_the_oracles(rng, clip, gradients):
    ours, oracle = ours_and_oracle(rng)
    with torch.set_grad_enabled(gradients):
        # Compared without the residual, which both add and which would hide an error in the rest.
        assert relative_error(ours(clip, FRAMES) - clip, oracle(clip, num_frames=FRAMES) - clip) < 1e-5


def test_a_clip_wide_norm_is_something_else(rng, clip):
    clip = clip * torch.linspace(0.2, 3, len(clip))[:, None, None, None]
    ours, oracle = ours_and_oracle(rng, per_frame=False)
    with torch.no_grad():
        assert relative_error(ours(clip, FRAMES) - clip, oracle(clip, num_frames=FRAMES) - clip) > 0.05


@pytest.mark.usefixtures("chunks")
def test_gradients_are_the_oracles(rng, clip):
    ours, oracle = ours_and_oracle(rng)
    weight = torch.randn(clip.shape, generator=rng)
    for module, arguments in ((ours, {"frames": FRAMES}), (oracle, {"num_frames": FRAMES})):
        module.x = clip.clone().requires_grad_()
        (weight * module(module.x, **arguments)).sum().backward()
    assert relative_error(ours.x.grad - weight, oracle.x.grad - weight) < 1e-5
    theirs = dict(oracle.named_parameters())
    for name, parameter in theirs.items():
        mine = animatediff_name(PREFIX + name).removeprefix(PREFIX + "temporal_transformer.")
        assert relative_error(ours.get_parameter(mine).grad, parameter.grad) < 1e-4, name


@pytest.mark.parametrize("frames", [1, MAX_FRAMES])
def test_the_shortest_and_the_longest_clip_agree_with_the_oracle(rng, frames):
    ours, oracle = ours_and_oracle(rng)
    x = torch.randn(frames, CHANNELS, 2, 2, generator=rng)
    with torch.no_grad():
        assert relative_error(ours(x, frames) - x, oracle(x, num_frames=frames) - x) < 1e-5


@pytest.mark.parametrize("frames", [0, MAX_FRAMES + 1])
def test_unknown_positions_are_refused(frames):
    x = torch.zeros(max(frames, 1), CHANNELS, 1, 1)
    with pytest.raises(ValueError, match=f"{frames} frames, but .* knows 1 to {MAX_FRAMES}: shorten"):
        TemporalTransformer(CHANNELS, CONFIG)(x, frames)


def test_images_that_do_not_fill_clips_are_refused():
    with pytest.raises(ValueError, match="7 images do not divide into clips of 5"):
        TemporalTransformer(CHANNELS, CONFIG)(torch.zeros(7, CHANNELS, 1, 1), 5)


def test_clips_do_not_see_each_other(rng, clip):
    ours = scatter(TemporalTransformer(CHANNELS, CONFIG), rng)
    with torch.no_grad():
        together = ours(clip, FRAMES)
        apart = torch.cat([ours(part, FRAMES) for part in clip.split(FRAMES)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_positions_do_not_see_each_other_beyond_the_norm(rng, clip):
    ours = scatter(TemporalTransformer(CHANNELS, CONFIG), rng)
    order = torch.randperm(21, generator=rng)

    def shuffled(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    with torch.no_grad():
        torch.testing.assert_close(ours(shuffled(clip), FRAMES), shuffled(ours(clip, FRAMES)), rtol=1e-5, atol=1e-5)


def test_frames_do_see_each_other_and_their_order(rng, clip):
    ours = scatter(TemporalTransformer(CHANNELS, CONFIG), rng)
    with torch.no_grad():
        backwards = ours(clip[:FRAMES].flip(0), FRAMES).flip(0)
        assert relative_error(backwards, ours(clip[:FRAMES], FRAMES)) > 1e-3


@pytest.mark.parametrize("gradients", [False, True])
def test_without_proj_out_it_is_exactly_the_identity(rng, clip, gradients):
    ours = scatter(TemporalTransformer(CHANNELS, CONFIG), rng)
    torch.nn.init.zeros_(ours.proj_out.weight)
    torch.nn.init.zeros_(ours.proj_out.bias)
    before = clip.clone()
    with torch.set_grad_enabled(gradients):
        assert torch.equal(ours(clip, FRAMES), before)
    assert torch.equal(clip, before)


@pytest.mark.parametrize("input_dtype", [torch.float32, torch.bfloat16])
def test_autocast_keeps_the_dtype_and_stays_near_float32(rng, clip, input_dtype):
    ours = scatter(TemporalTransformer(CHANNELS, CONFIG), rng)
    with torch.no_grad():
        exact = ours(clip, FRAMES) - clip
        with torch.autocast("cpu", torch.bfloat16):
            rough = ours(clip.to(input_dtype), FRAMES)
    assert rough.dtype == input_dtype
    # bfloat16 rounds to 2⁻⁹ relative; about ten roundings in sequence, not all of them independent.
    assert relative_error(rough.float() - clip, exact) < 10 * 2**-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_run_and_stay_near_float32(rng, clip, dtype):
    ours = scatter(TemporalTransformer(CHANNELS, CONFIG), rng)
    with torch.no_grad():
        exact = ours(clip, FRAMES) - clip
        rough = ours.to(dtype)(clip.to(dtype), FRAMES)
    assert rough.dtype == dtype
    assert relative_error(rough.float() - clip, exact) < 10 * 2**-9


def test_layers_come_from_the_given_operations(rng):
    class Counting:
        made = 0

    def counted(kind):
        def make(*args, **kwargs):
            Counting.made += 1
            return kind(*args, **kwargs)

        return staticmethod(make)

    for name in ("Linear", "LayerNorm", "GroupNorm"):
        setattr(Counting, name, counted(getattr(torch.nn, name)))
    module = MotionModule(CONFIG, operations=Counting, dtype=torch.float16, device="meta")
    layers = [layer for layer in module.modules() if hasattr(layer, "weight")]
    assert len(layers) == Counting.made == 2 * (1 + 2 + 2 * 4 + 2 + 3)
    assert {value.dtype for value in module.state_dict().values()} == {torch.float16}


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        MotionConfig((64, 128, 192), (1, 1, 1), (2, 2, 2), mid_block=True, max_frames=16),
        MotionConfig((64, 128), (2, 1), (1, 3), mid_block=False, max_frames=24, heads=2),
        MotionConfig((320, 640, 1280, 1280), (2, 2, 2, 2), (3, 3, 3, 3), mid_block=True, max_frames=32),
    ],
)
def test_the_config_is_read_off_the_weights(config):
    weights = MotionModule(config, device="meta").state_dict()
    assert config_from_state_dict(weights, config.heads) == config
