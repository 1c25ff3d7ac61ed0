"""Nodes called as ComfyUI calls them, where a full-size model would only cost time."""

import comfy.model_patcher
import comfy.supported_models
import folder_paths
import narrow_model
import pytest
import torch
from PIL import Image
from vcd_pack.nodes.host import motion as host_motion
from vcd_pack.nodes.host.motion import add_motion_lora, add_motion_module
from vcd_pack.nodes.host.training import check_family
from vcd_pack.nodes.identity import LoadIdentityPhotos
from vcd_pack.nodes.motion import LoadMotionModule
from vcd_pack.nodes.training import TrainIDToken


def test_images_join_the_photos_of_a_folder():
    images = torch.rand(2, 32, 32, 4)
    masks = torch.ones(1, 32, 32)
    (photos,) = LoadIdentityPhotos.execute("(none)", images, masks).result
    assert [photo.image.shape for photo in photos] == [(32, 32, 3)] * 2
    assert all(torch.equal(photo.mask, masks[0]) for photo in photos)
    (photos,) = LoadIdentityPhotos.execute("(none)", images, torch.zeros(1, 64, 64)).result
    assert [photo.mask for photo in photos] == [None, None]
    for shape in ((1, 32), (2, 1, 32)):  # other nodes' for a single one, and with channels
        (photos,) = LoadIdentityPhotos.execute("(none)", images, torch.ones(*shape, 32).squeeze(0)).result
        assert all(torch.equal(photo.mask, masks[0]) for photo in photos)
    with pytest.raises(ValueError, match="Give one mask an image"):
        LoadIdentityPhotos.execute("(none)", images, torch.ones(1, 16, 16))


@pytest.mark.parametrize("folder", ["(none)", "demo://mia (woman)"])
def test_masks_without_their_images_are_not_dropped_in_silence(folder):
    with pytest.raises(ValueError, match="masks without images: connect the images"):
        LoadIdentityPhotos.execute(folder, masks=torch.ones(6, 256, 256))


def test_the_characters_of_the_pack_are_offered_behind_the_user_s_folders(tmp_path, monkeypatch):
    offered = ["demo://mia (woman)", "demo://otto (man)", "demo://bolt (robot)", "demo://kit (cat)"]
    folder = tmp_path / "demo:" / "mia (woman)"  # as near to one of the pack's names as a path can come
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(folder / "1.png")
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    choice = LoadIdentityPhotos.define_schema().inputs[0]
    assert (choice.options, choice.default) == (["(none)", "demo:/mia (woman)", *offered], "(none)")

    for name in offered:
        assert LoadIdentityPhotos.validate_inputs(folder=name) is True
        assert len(LoadIdentityPhotos.fingerprint_inputs(folder=name)) == 12  # with their masks
        (photos,) = LoadIdentityPhotos.execute(name).result
        assert len(photos) == 6
        assert all(0 < photo.mask.mean() < 1 for photo in photos)
    (photos,) = LoadIdentityPhotos.execute("demo:/mia (woman)").result
    assert photos[0].image.shape == (30, 40, 3)

    for name in ("demo://", "demo://mia", "demo://../weights", "demo://mia (woman)/..", "demo://mia (man)"):
        assert name in LoadIdentityPhotos.validate_inputs(folder=name)
        with pytest.raises(ValueError, match="no photos in the folder"):
            LoadIdentityPhotos.execute(name)


def sdxl(width=32):
    """A model of another family, as narrow as may be."""
    config = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "num_res_blocks": [2, 2, 2],
        "channel_mult": (1, 2, 4),
        "transformer_depth": [0, 0, 2, 2, 2, 2],
        "transformer_depth_middle": 2,
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 2, 2, 2],
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "context_dim": 64,
        "adm_in_channels": 2816,
        "num_classes": "sequential",
        "use_temporal_attention": False,
        "dtype": torch.float32,
    }
    model = comfy.supported_models.SDXL(config).get_model({}, device=torch.device("cpu"))
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def sd2():
    """Of the same channels as a Stable Diffusion 1.5."""
    base = comfy.supported_models.SD20(narrow_model.UNET).get_model({}, device=torch.device("cpu"))
    return comfy.model_patcher.ModelPatcher(base, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def test_another_family_of_models_is_refused(narrow, motion_file):
    with pytest.raises(ValueError, match=r"narrow\.safetensors does not fit .* of Stable Diffusion 2\. .*1\.5"):
        add_motion_module(sd2(), motion_file, own_schedule=True)
    with pytest.raises(ValueError, match=r"narrow\.safetensors does not fit .*Stable Diffusion 1\.5"):
        add_motion_module(sdxl(), motion_file, own_schedule=True)
    with pytest.raises(ValueError, match=r"one checkpoint of the Stable Diffusion 1\.5 family.*SDXL"):
        check_family(sdxl(), narrow[1])


def test_a_narrow_module_fits_a_narrow_model_and_nothing_global_changes(narrow, motion_file):
    import comfy.ldm.modules.diffusionmodules.openaimodel as unet_module
    import comfy.sample
    import comfy.samplers

    watched = [torch.nn, torch.nn.functional, torch.nn.GroupNorm, unet_module, unet_module.UNetModel]
    watched += [comfy.sample, comfy.samplers, comfy.model_patcher.ModelPatcher]
    before = [dict(vars(thing)) for thing in watched]
    model, _ = narrow
    unet = model.model.diffusion_model
    x, timesteps, context = torch.randn(6, 4, 8, 8), torch.full((6,), 500.0), torch.randn(6, 77, 32)
    options = {"cond_or_uncond": [0]}
    weights = [id(parameter) for parameter in model.model.parameters()]

    def run(patcher):
        patcher.inject_model()
        options["patches"] = patcher.model_options["transformer_options"].get("patches", {})
        try:
            return unet(x, timesteps, context=context, transformer_options=options)
        finally:
            patcher.eject_model()

    with torch.inference_mode():
        plain = run(model)
        moving = add_motion_module(model, motion_file, own_schedule=True)
        moved = run(moving)
        assert torch.equal(run(moving.clone()), moved)
        assert torch.equal(run(model), plain)
    assert not torch.allclose(moved, plain, atol=1e-3)
    assert [dict(vars(thing)) for thing in watched] == before
    moving.inject_model()
    assert [id(parameter) for parameter in model.model.parameters()] == weights
    moving.inject_model()
    moving.eject_model()
    assert not any(isinstance(layer, host_motion.Motion) for layer in unet.modules())


def test_the_schedule_is_the_module_s_own_unless_told_otherwise(narrow, motion_file):
    model, _ = narrow
    own = model.get_model_object("model_sampling").sigma_max.item()
    animatediff = add_motion_module(model, motion_file, own_schedule=True).get_model_object("model_sampling")
    assert animatediff.sigma_max.item() == pytest.approx(25.1, abs=0.05)
    assert own == pytest.approx(14.61, abs=0.01)
    kept = add_motion_module(model, motion_file, own_schedule=False)
    assert kept.get_model_object("model_sampling").sigma_max.item() == own


@pytest.mark.parametrize(
    ("stored", "cast", "expected"),
    [
        (torch.float32, None, torch.float32),
        (torch.float16, torch.float32, torch.float16),
        (torch.float8_e4m3fn, torch.bfloat16, torch.bfloat16),
        (torch.float8_e4m3fn, torch.float32, torch.float32),
        (torch.float32, torch.float16, torch.float16),
    ],
)
def test_a_module_is_as_wide_as_its_model_or_what_that_computes_in(
    narrow, motion_file, monkeypatch, stored, cast, expected
):
    """float8 is for checkpoints; a module beside one takes half precision where the model computes in that."""
    model, _ = narrow
    monkeypatch.setattr(model.model.diffusion_model, "dtype", stored)
    monkeypatch.setattr(model.model, "manual_cast_dtype", cast)
    with torch.inference_mode():
        (weights,) = add_motion_module(model, motion_file, own_schedule=True).get_additional_models()
        transformer = weights.model.mid_block.motion_modules[0].temporal_transformer
        assert {parameter.dtype for parameter in weights.model.parameters()} == {expected}
        x = torch.randn(2, transformer.norm.num_channels, 2, 2, dtype=cast or stored)
        assert transformer(x, 2).dtype == x.dtype


@pytest.mark.parametrize("sampling", ["lcm", "edm"])
def test_the_module_s_schedule_does_not_override_another_node_s(narrow, motion_file, sampling):
    from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM, ModelSamplingDiscrete

    if sampling == "lcm":
        (model,) = ModelSamplingDiscrete().patch(narrow[0], "lcm", False)
    else:
        (model,) = ModelSamplingContinuousEDM().patch(narrow[0], "eps", 120.0, 0.002)
    with pytest.raises(ValueError, match='choose "checkpoint"'):
        add_motion_module(model, motion_file, own_schedule=True)
    kept = add_motion_module(model, motion_file, own_schedule=False)
    assert kept.get_model_object("model_sampling") is model.get_model_object("model_sampling")


def test_names_that_come_through_links_are_checked_when_they_are_known(tmp_path):
    """ComfyUI validates a linked input as None."""
    assert LoadIdentityPhotos.validate_inputs(folder=None) is True
    assert TrainIDToken.validate_inputs(name=None) is True
    assert LoadMotionModule.validate_inputs(motion_module=None) is True
    for folder in ("../..", "/etc", "absent"):
        with pytest.raises(ValueError, match="no photos in the folder"):
            LoadIdentityPhotos.execute(folder)


def test_a_lora_for_another_module_is_refused(narrow, motion_file, tmp_path):
    from safetensors.torch import save_file

    key = "down_blocks.3.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.processor"
    save_file(
        {f"{key}.to_q_lora.down.weight": torch.ones(4, 1280), f"{key}.to_q_lora.up.weight": torch.ones(1280, 4)},
        tmp_path / "lora.safetensors",
    )
    moving = add_motion_module(narrow[0], motion_file, own_schedule=True)
    with pytest.raises(ValueError, match="the motion module|this motion module"):
        add_motion_lora(moving, tmp_path / "lora.safetensors", 1.0)
