"""The training port over ComfyUI's own text encoder and UNet."""

import comfy.model_management
import comfy.ops
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from vcd_pack.nodes.host.training import ComfyDenoiser, check_family
from vcd_pack.vcd_core.identity import (
    PLACEHOLDER,
    Examples,
    TrainingOptions,
    initial_vectors,
    masked_loss,
    train_id_token,
)
from vcd_pack.vcd_core.sampling import DiscreteSchedule

PROMPT = f"photo of a {PLACEHOLDER} woman, on a beach"


@pytest.fixture
def port(narrow):
    return ComfyDenoiser(*narrow)


@torch.inference_mode()
def test_a_trained_prompt_is_encoded_as_comfyui_encodes_the_saved_embedding(tmp_path):
    import narrow_model
    from vcd_pack.vcd_core.identity import IDToken, save_id_token

    clip = narrow_model.clip(str(tmp_path))
    vectors = torch.randn(3, narrow_model.WIDTH)
    save_id_token(IDToken("ava", vectors, "woman", 1), tmp_path)
    tokens = clip.tokenize("photo of a embedding:ava woman, on a beach")
    expected = clip.encode_from_tokens(tokens)[0]
    port = ComfyDenoiser(narrow_model.model(), clip)
    assert_close(port.encode_prompt(PROMPT, vectors), expected, rtol=0, atol=1e-6)
    plain = clip.encode_from_tokens(clip.tokenize("photo of a woman, on a beach"))[0]
    assert not torch.allclose(plain, expected, atol=1e-3)


@torch.inference_mode()
def test_gradients_reach_the_vectors_through_both_models(port):
    """Against finite differences of the same loss."""
    with port.gradients():
        generator = torch.Generator().manual_seed(0)
        noised, target = torch.randn(2, 2, 4, 8, 8, generator=generator)
        vectors = torch.randn(2, 32, generator=generator).requires_grad_()

        def loss(vectors):
            context = port.encode_prompt(PROMPT, vectors).expand(2, -1, -1)
            timesteps = torch.tensor([100, 700])
            return masked_loss(port.predict_noise(noised, timesteps, context), target, torch.ones(2, 1, 8, 8))

        (gradient,) = torch.autograd.grad(loss(vectors), vectors)
        direction = gradient / gradient.norm()
        with torch.no_grad():
            step = 0.05
            change = loss(vectors + step * direction) - loss(vectors - step * direction)
    assert change.item() / (2 * step) == pytest.approx(gradient.norm().item(), rel=0.05)


@torch.inference_mode()
def test_training_lowers_the_masked_loss_of_noise_it_did_not_see(port):
    with port.gradients():
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(1, 4, 8, 8, generator=generator).repeat(4, 1, 1, 1)
        masks = torch.zeros(4, 1, 8, 8)
        masks[..., 2:6, 2:6] = 1
        schedule = DiscreteSchedule.from_betas("scaled_linear")
        start = initial_vectors(port.embed_words("woman"), 4, generator)

        probe_noise = torch.randn(16, 4, 8, 8, generator=generator)
        timesteps = torch.arange(20, 1000, 62)[:16]
        alpha = 1 / (1 + schedule.sigmas[timesteps].view(-1, 1, 1, 1) ** 2)
        noised = alpha.sqrt() * latents[:1] + (1 - alpha).sqrt() * probe_noise
        mask = masks[:1].expand(16, -1, -1, -1)

        @torch.no_grad()
        def probe(vectors):
            context = port.encode_prompt(PROMPT, vectors).expand(16, -1, -1)
            return masked_loss(port.predict_noise(noised, timesteps, context), probe_noise, mask).item()

        options = TrainingOptions(steps=60, batch_size=8, learning_rate=0.2)
        *_, last = train_id_token(port, schedule, Examples(latents, masks, [PROMPT] * 4), start, options)
        before, after = probe(start), probe(last.vectors)
    assert after < 0.95 * before, (before, after)


class PaddedMaskAttention(torch.autograd.Function):
    """Attention that keeps its mask for the backward pass as PyTorch does on NVIDIA GPUs in float32: expanded, and a
    view of one whose rows are padded to 16 values. Their kernels refuse rows that begin anywhere else."""

    @staticmethod
    def forward(ctx, q, k, v, mask):
        keys = mask.shape[-1]
        padded = F.pad(mask, (0, -keys % 16))[..., :keys].expand(*q.shape[:3], keys)
        ctx.save_for_backward(q, k, v, padded)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    @staticmethod
    def backward(ctx, gradient):
        *parts, mask = ctx.saved_tensors
        assert mask.stride(-2) % 4 == 0, mask.stride()
        with torch.enable_grad():
            parts = [part.detach().requires_grad_() for part in parts]
            attended = F.scaled_dot_product_attention(*parts, attn_mask=mask)
        return *torch.autograd.grad(attended, parts, gradient), None


@torch.inference_mode()
def test_the_encoder_s_gradient_is_right_where_kernels_are_particular_about_the_mask(port, monkeypatch):
    vectors, weights = torch.randn(2, 32), torch.randn(77, 32)
    gradients, kept = [], []
    with port.gradients():
        for particular in (False, True):
            if particular:
                monkeypatch.setattr(comfy.model_management, "pytorch_attention_enabled", lambda: True)
                monkeypatch.setattr(
                    comfy.ops,
                    "scaled_dot_product_attention",
                    lambda q, k, v, attn_mask, **_: kept.append(1) or PaddedMaskAttention.apply(q, k, v, attn_mask),
                )
            learned = vectors.clone().requires_grad_()
            (port.encode_prompt(PROMPT, learned) * weights.clone()).sum().backward()
            gradients.append(learned.grad)
    assert kept
    assert_close(*gradients, rtol=1e-4, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("recompute", [False, True])
def test_the_models_are_left_as_they_were(narrow, recompute):
    model, clip = narrow
    before = [p.clone() for p in [*model.model.parameters(), *clip.cond_stage_model.parameters()]]
    port = ComfyDenoiser(model, clip)
    with port.gradients(recompute=recompute):
        context = port.encode_prompt(PROMPT, torch.randn(4, 32).requires_grad_())
        port.predict_noise(torch.randn(1, 4, 8, 8), torch.tensor([500]), context[None]).sum().backward()
    after = [*model.model.parameters(), *clip.cond_stage_model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None and not p.requires_grad for p in after)
    assert not any("forward" in vars(module) for module in model.model.modules())


@torch.inference_mode()
def test_what_another_pack_made_of_a_block_is_there_during_and_after(narrow):
    """An object patch of ComfyUI's stays on the instance as long as the model is loaded."""
    block = narrow[0].model.diffusion_model.input_blocks[1][0]
    plain, called = block.forward, []

    def watched(*arguments, **more):
        called.append(1)
        return plain(*arguments, **more)

    block.forward = watched
    port = ComfyDenoiser(*narrow)
    with port.gradients(recompute=True):
        port.predict_noise(torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 77, 32))
    assert called
    assert vars(block)["forward"] is watched


@torch.inference_mode()
def test_recomputed_activations_give_the_same_gradient_and_are_not_kept(port):
    noised, context = torch.randn(2, 4, 16, 16), torch.randn(2, 77, 32)
    found = {}
    for recompute in (False, True):
        kept = []
        with port.gradients(recompute=recompute):
            words = context.clone().requires_grad_()
            with torch.autograd.graph.saved_tensors_hooks(
                lambda tensor, kept=kept: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
            ):
                noise = port.predict_noise(noised.clone(), torch.tensor([100, 900]), words)
            during = sum(kept)
            noise.square().sum().backward()
        found[recompute] = words.grad, during
    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-4, atol=1e-6)
    assert found[True][1] < 0.5 * found[False][1]


@torch.inference_mode()
def test_a_caption_too_long_for_the_encoder_is_refused(port):
    with pytest.raises(ValueError, match="4 of them learned, the text encoder takes 75: shorten"):
        port.encode_prompt(PROMPT + " word" * 80, torch.randn(4, 32))


@torch.inference_mode()
def test_an_empty_noun_is_refused(port):
    with pytest.raises(ValueError, match="noun is empty"):
        port.embed_words("  ")


@torch.inference_mode()
def test_another_family_is_refused(narrow):
    model, clip = narrow
    other = model.clone()
    other.model.model_type = comfy.model_base.ModelType.V_PREDICTION
    with pytest.raises(ValueError, match=r"Stable Diffusion 1\.5"):
        check_family(other, clip)
