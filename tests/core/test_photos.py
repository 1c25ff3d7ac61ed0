"""Photos as users have them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vcd_core.identity import Photo, cropped, load_photos, usable_photos


def gradient(width=40, height=30):
    """Red grows to the right, green downwards."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    return image


def test_files_come_in_natural_order_whatever_their_suffix(tmp_path):
    picture = Image.fromarray(gradient())
    for name in ["12.jpg", "2.JPEG", "1.PNG", "photo.webp", "ava 10.bmp", "ava 9.tiff"]:
        picture.save(tmp_path / name)
    (tmp_path / "3.jpg.txt").write_text("not a photo")
    (tmp_path / "folder.png").mkdir()
    names = [photo.name for photo in load_photos(tmp_path)]
    assert names == ["1.PNG", "2.JPEG", "12.jpg", "ava 9.tiff", "ava 10.bmp", "photo.webp"]


def test_a_caption_lies_beside_its_photo(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    Image.fromarray(gradient()).save(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text(" on a beach\n", encoding="utf-8")
    assert [photo.caption for photo in load_photos(tmp_path)] == ["", "on a beach"]


def test_exif_rotation_is_applied(tmp_path):
    stored = Image.fromarray(np.rot90(gradient()).copy())  # what a phone stores for orientation 6
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "turned.png", exif=exif)
    (photo,) = load_photos(tmp_path)
    torch.testing.assert_close(photo.image, torch.from_numpy(gradient() / 255).float())


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = ".tiff" if mode == "CMYK" else ".png"
    Image.fromarray(gradient()).convert("RGB").convert(mode).save(tmp_path / f"photo{suffix}")
    (photo,) = load_photos(tmp_path)
    assert photo.image.shape == (30, 40, 3)
    assert photo.image.dtype == torch.float32
    assert photo.image.min() >= 0
    assert photo.image.max() <= 1
    assert photo.image.std() > 0.05


def save_with_mask(folder, mask, name="a"):
    cut_out = np.dstack([gradient(), np.full((30, 40), 128, np.uint8)])
    Image.fromarray(cut_out).save(folder / f"{name}.png")
    Image.fromarray(mask).save(folder / f"{name}.mask.png")


def test_a_mask_beside_its_photo_wins_over_transparency_and_leaves_the_colours_alone(tmp_path):
    drawn = np.zeros((30, 40), np.uint8)
    drawn[5:9, 7:20] = 255
    save_with_mask(tmp_path, drawn)
    (photo,) = load_photos(tmp_path)
    assert photo.name == "a.png"
    torch.testing.assert_close(photo.mask, torch.from_numpy(drawn / 255).float())
    torch.testing.assert_close(photo.image, torch.from_numpy(gradient() / 255).float())


def test_a_mask_of_no_photo_or_of_another_size_is_named(tmp_path):
    save_with_mask(tmp_path, np.zeros((10, 20), np.uint8))
    with pytest.raises(ValueError, match="photo a.png: its mask is 20x10 but the image is 40x30"):
        load_photos(tmp_path)
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"the mask a\.mask\.png of no photo"):
        load_photos(tmp_path)


@pytest.mark.parametrize("name", ["a_mask.png", "a-Mask.jpg", "a.mask.jpg", "a mask.webp"])
def test_a_mask_that_another_program_named_is_not_learned_as_a_photo(tmp_path, name):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    Image.fromarray(gradient()).save(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}, which would be .* of 'a', save it as a\.mask\.png"):
        load_photos(tmp_path)
    (tmp_path / "a.png").unlink()
    assert [photo.name for photo in load_photos(tmp_path)] == [name]  # of no photo: somebody with a mask on


def test_a_link_to_nothing_is_named_and_one_to_a_photo_is_followed(tmp_path):
    album, elsewhere = tmp_path / "album", tmp_path / "elsewhere.png"
    album.mkdir()
    (album / "a.png").symlink_to(elsewhere)
    with pytest.raises(ValueError, match=r"a\.png, a link to a file that is not there"):
        load_photos(album)
    Image.fromarray(gradient()).save(elsewhere)
    assert [photo.name for photo in load_photos(album)] == ["a.png"]


def test_a_broken_mask_is_named(tmp_path):
    save_with_mask(tmp_path, np.zeros((30, 40), np.uint8))
    (tmp_path / "a.mask.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a\.mask\.png cannot be read"):
        load_photos(tmp_path)


def test_sixteen_bit_greyscale_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40)
    Image.fromarray(values).save(tmp_path / "deep.png")
    (photo,) = load_photos(tmp_path)
    torch.testing.assert_close(photo.image[..., 1], torch.from_numpy(values / 65535).float(), atol=1e-4, rtol=0)


def test_a_cut_out_is_its_own_mask(tmp_path):
    alpha = np.zeros((30, 40), dtype=np.uint8)
    alpha[5:20, 10:30] = 255
    Image.fromarray(np.dstack([gradient(), alpha])).save(tmp_path / "cut.png")
    (photo,) = load_photos(tmp_path)
    assert torch.equal(photo.mask, torch.from_numpy(alpha / 255).float())
    assert torch.equal(photo.image[0, 0], torch.full((3,), 0.5))
    torch.testing.assert_close(photo.image[10, 20], torch.from_numpy(gradient()[10, 20] / 255).float())


def test_an_opaque_alpha_is_no_mask(tmp_path):
    Image.fromarray(gradient()).convert("RGBA").save(tmp_path / "opaque.png")
    (photo,) = load_photos(tmp_path)
    assert photo.mask is None


@pytest.mark.parametrize("content", [b"", b"not a picture", "truncated"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    if content == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png"):
        load_photos(tmp_path)


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "b.avif", "c.gif"])
def test_pictures_of_other_formats_are_not_dropped_in_silence(tmp_path, name):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"...")
    with pytest.raises(ValueError, match=name):
        load_photos(tmp_path)


def test_captions_of_windows_editors(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes("on a beach".encode("utf-8-sig"))
    assert load_photos(tmp_path)[0].caption == "on a beach"
    (tmp_path / "a.txt").write_bytes("au café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8"):
        load_photos(tmp_path)


def photo(name="ava", mask=None, height=20, width=200):
    return Photo(name, torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0)), mask)


def test_a_photo_that_shows_nothing_is_left_out_and_named_and_the_others_train():
    empty, twins, fine = torch.zeros(20, 200), torch.zeros(20, 200), torch.ones(20, 200)
    twins[:, :5] = twins[:, -5:] = 1
    nothing = torch.full((20, 200), torch.nan)  # what another node may make of an empty picture
    photos = [photo(f"{i}.png", mask) for i, mask in enumerate([fine, empty, twins, fine, nothing])]
    usable, remarks = usable_photos(photos)
    assert usable == [photos[0], photos[3]]
    assert [remark.partition(":")[0] for remark in remarks] == ["left out 1.png", "left out 2.png", "left out 4.png"]


def test_haze_is_no_subject():
    """A stray pixel far away neither moves the crop nor costs the photo; a mask of nothing else is empty."""
    mask = torch.zeros(100, 300)
    mask[30:70, 20:60] = 1
    hazy = mask.clone()
    hazy[50, 299] = 1 / 255
    one, other = (photo(mask=which, height=100, width=300) for which in (mask, hazy))
    assert torch.equal(cropped(one, 50), cropped(other, 50))
    assert usable_photos([other, one])[0] == [other, one]
    assert "its mask is empty" in usable_photos([one, photo(mask=(hazy - mask), height=100, width=300)])[1][0]


def test_hidden_files_are_no_photos(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "1.jpg")
    (tmp_path / "._1.jpg").write_bytes(b"what another system keeps of a file")
    assert [one.name for one in load_photos(tmp_path)] == ["1.jpg"]


def test_no_usable_photo_is_an_error_that_says_what_is_wrong_with_each():
    with pytest.raises(ValueError, match=r"no photos to train on[\s\S]*1\.png: its mask is empty[\s\S]*2\.png"):
        usable_photos([photo("1.png", torch.zeros(20, 200)), photo("2.png", torch.zeros(20, 200))])
    with pytest.raises(ValueError, match="no photos to train on"):
        usable_photos([])


def test_photos_without_a_mask_and_a_single_photo_are_remarked():
    _, remarks = usable_photos([photo("1.png"), photo("2.png", torch.ones(20, 200)), photo("3.png")])
    assert remarks == ["no mask, so what is around the subject is learned as well: 1.png, 3.png"]
    _, remarks = usable_photos([photo(mask=torch.ones(20, 200))])
    assert [remark.partition(" shows")[0] for remark in remarks] == ["one photo"]


def test_no_folder_and_no_photos_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        load_photos(tmp_path / "absent")
    with pytest.raises(ValueError, match="put 5-10 photos"):
        load_photos(tmp_path)
    (tmp_path / "1.txt").touch()
    with pytest.raises(ValueError, match=r"1\.txt is a file: name the folder"):
        load_photos(tmp_path / "1.txt")


def disc(height, width, row, column, radius=6):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).float()


@pytest.mark.parametrize(("height", "width"), [(50, 120), (120, 50), (64, 64)])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_the_crop_keeps_the_subject(height, width, place):
    mask = disc(height, width, int(place * height), int(place * width))
    photo = Photo("subject", mask[:, :, None].repeat(1, 1, 3), mask)
    picture = cropped(photo, 64)
    scale = 64 / min(height, width)
    assert picture[3].sum().item() == pytest.approx(mask.sum().item() * scale**2, rel=0.1)
    torch.testing.assert_close(picture[:3], picture[3:].expand(3, -1, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [30, 64, 200])
def test_photos_of_every_size_are_cropped_to_one(size):
    picture = cropped(Photo("plain", torch.rand(size, 2 * size, 3)), 64)
    assert picture.shape == (4, 64, 64)
    assert picture.min() >= 0
    assert picture.max() <= 1
    torch.testing.assert_close(picture[3], torch.ones(64, 64))


@pytest.mark.parametrize("size", [(2600, 1700), (1700, 2600), (1800, 1800)])
def test_a_photo_of_a_phone_is_kept_no_larger_than_it_is_needed(tmp_path, size):
    """Its crop is that of all its pixels."""
    pixels, drawn = gradient(*size), (disc(*size[::-1], 600, 900, 500) * 255).byte().numpy()
    for name, picture in {"a.png": pixels, "a.mask.png": drawn}.items():
        Image.fromarray(picture).save(tmp_path / name, compress_level=0)
    (kept,) = load_photos(tmp_path)
    assert min(kept.image.shape[:2]) == 1536
    assert kept.image.shape[1] / kept.image.shape[0] == pytest.approx(size[0] / size[1], rel=1e-3)
    assert (kept.image.is_contiguous(), kept.mask.is_contiguous()) == (True, True)
    whole = Photo("a.png", torch.from_numpy(pixels / 255).float(), torch.from_numpy(drawn / 255).float())
    torch.testing.assert_close(cropped(kept, 256)[:3], cropped(whole, 256)[:3], rtol=0, atol=0.02)
    assert (cropped(kept, 256)[3] - cropped(whole, 256)[3]).abs().mean() < 0.002


def test_a_mask_of_another_size_is_refused_whatever_both_are_scaled_to(tmp_path):
    Image.fromarray(gradient(3200, 3200)).save(tmp_path / "a.png", compress_level=0)
    Image.new("L", (1600, 1600), 255).save(tmp_path / "a.mask.png")
    with pytest.raises(ValueError, match="its mask is 1600x1600 but the image is 3200x3200"):
        load_photos(tmp_path)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.25])
def test_a_mask_grows_by_its_margin_to_every_side_and_the_picture_stays(margin):
    mask = torch.zeros(80, 120)
    mask[30:50, 50:70] = 1
    plain, grown = (cropped(photo(mask=mask, height=80, width=120), 160, one) for one in (0.0, margin))
    assert torch.equal(grown[:3], plain[:3])
    for axis in (0, 1):  # the square of 40 pixels lies in the middle of 160
        sides = (grown[3] > 0.5).any(axis).nonzero()
        assert (sides.min().item(), sides.max().item()) == (60 - round(margin * 160), 99 + round(margin * 160))


def test_the_mask_of_a_cut_out_does_not_grow(tmp_path):
    pixels = np.dstack([gradient(), np.zeros((30, 40), np.uint8)])
    pixels[8:-8, 8:-8, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (cut_out,) = load_photos(tmp_path)
    assert torch.equal(cropped(cut_out, 64, 0.2), cropped(cut_out, 64))
    assert not torch.equal(cropped(replace(cut_out, cut_out=False), 64, 0.2), cropped(cut_out, 64))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="its mask is 20x10 but the image is 40x30"):
        Photo("ava", torch.rand(30, 40, 3), torch.rand(10, 20))
