"""What the pack adds to ComfyUI's page: pictures and tools on its nodes, which change nothing that is sent."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from comfyui_hosts import ROOT
from graphs import WORKFLOWS
from safetensors.torch import save_file

KIT = ROOT / "demo/photos/kit"
LONG = 900_000  # milliseconds: the machine may be busy
GAMMAS = [0.0, 0.1, 0.5, 0.9, 1.0]
FRAMES, SHADES = 16, 256
DARKEST, BRIGHTEST = 28, 255  # red of covariance 0 and 1
PIXELS = """selector => {
    const canvas = document.querySelector(selector);
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return {shape: [canvas.height, canvas.width, 4], data: Array.from(data)};
}"""


def pixels(page, selector: str) -> np.ndarray:
    """(H, W, 4) of a canvas element."""
    drawn = page.page.evaluate(PIXELS, selector)
    return np.array(drawn["data"]).reshape(drawn["shape"])


def frames_of_noise(page) -> np.ndarray:
    """(8, 10, 10), as they are drawn: in two rows, a pixel apart."""
    grey = np.pad(pixels(page, ".vcd-strip")[:, :, 0], (0, 1))
    return np.stack([grey[top : top + 10, left : left + 10] for top in (0, 11) for left in range(0, 44, 11)])


def loaded(page, selector: str) -> list[bool]:
    """Of each picture, whether it is there."""
    return page.page.eval_on_selector_all(selector, "all => all.map(one => one.complete && one.naturalWidth > 0)")


def test_the_page_loads_the_pack_without_an_error(page):
    assert page.page.evaluate("() => window.app.extensions.some(one => one.name === 'VCD')")
    for kind in page.page.evaluate(
        "() => Object.keys(LiteGraph.registered_node_types).filter(n => n.startsWith('VCD_'))"
    ):
        page.add(kind)
    assert page.errors == []


@pytest.mark.parametrize("kind", ["VCD_CorrelatedNoise", "VCD_Sampler"])
def test_the_picture_of_gamma_follows_the_widget(kind, page):
    node = page.add(kind)
    frame = np.arange(FRAMES)
    for gamma in GAMMAS:
        page.set(node, "gamma", gamma)
        share = (pixels(page, ".vcd-matrix")[:, :, 0] - DARKEST) / (BRIGHTEST - DARKEST)
        expected = np.float64(gamma) ** abs(frame[:, None] - frame[None, :])
        np.testing.assert_allclose(share, expected, rtol=0, atol=1 / SHADES)
    noise = frames_of_noise(page)  # of gamma 1
    assert noise.std() > 40
    assert (noise == noise[0]).all()
    page.set(node, "gamma", 0.0)
    assert abs(np.corrcoef(frames_of_noise(page).reshape(8, -1)) - np.eye(8)).max() < 5 / np.sqrt(100)


def test_a_gamma_that_comes_by_a_link_is_not_drawn_as_the_widget_s(page):
    node = page.add("VCD_CorrelatedNoise")
    page.page.evaluate(
        "key => { const {graph} = window.app; const number = LiteGraph.createNode('PrimitiveFloat'); graph.add(number);"
        " const node = graph.getNodeById(key);"
        " number.connect(0, node, node.inputs.findIndex(i => i.name === 'gamma')) }",
        node,
    )
    page.page.wait_for_selector(".vcd-dim >> text=another node")


@pytest.fixture(scope="module")
def learned(page, server) -> dict:
    """The template demo_face with few steps, run; what would be sent before and after, and what was seen meanwhile."""
    page.load(json.loads((WORKFLOWS / "demo_face.json").read_text(encoding="utf-8")))
    page.set("VCD_TrainIDToken", "steps", 6)
    page.set("VCD_TrainIDToken", "sample_every", 2)
    page.set("VCD_Sampler", "steps", 8)
    page.set("VCD_FaceVCD", "steps", 2)
    before = page.prompt()
    assert page.page.query_selector(".vcd-curve, .vcd-card, .vcd-tracks") is None
    page.show("VCD_TrainIDToken")
    page.page.evaluate("() => window.app.queuePrompt(0)")
    page.page.wait_for_selector("text=/step \\d of 6 · .* left · loss/", timeout=LONG)
    page.page.wait_for_selector(".vcd-curve .vcd-mean", state="attached", timeout=LONG)
    page.page.wait_for_selector(".vcd-card", timeout=LONG)
    card = page.page.inner_text(".vcd-card")
    page.page.wait_for_selector(".vcd-tracks", state="attached", timeout=LONG)
    return {"before": before, "after": page.prompt(), "card": card}


def test_a_training_shows_its_curve_photos_samples_and_then_its_card(learned, page):
    page.show("VCD_TrainIDToken")
    assert "demo_mia · woman" in learned["card"]
    assert "6 steps, 4 vectors" in learned["card"]
    points = page.page.get_attribute(".vcd-mean", "points").split()
    assert len(points) == 6
    photos, samples = page.page.query_selector_all(".vcd-pictures")
    assert [len(row.query_selector_all("img")) for row in (photos, samples)] == [6, 3]
    assert all(loaded(page, ".vcd-pictures img, .vcd-card img"))
    page.page.click(".vcd-card button")
    page.page.wait_for_selector(".vcd-card >> text=Copied")
    assert page.page.evaluate("() => navigator.clipboard.readText()") == "embedding:vcd_demo/demo_mia woman"


def test_faces_are_shown_over_the_clip_before_and_after(learned, page):
    page.show("VCD_FaceVCD")
    assert page.page.query_selector_all(".vcd-track .vcd-seen")
    first = page.page.inner_text(".vcd-pair")
    assert re.search(r"before · \d+\s+after · \d+", first)
    assert loaded(page, ".vcd-pair img") == [True, True]
    page.page.focus(".vcd-panel input[type=range]")
    page.page.keyboard.press("End")
    assert page.page.inner_text(".vcd-pair") != first
    assert "16 frames" in page.page.inner_text(".vcd-tracks ~ .vcd-report")


def test_panels_change_neither_what_is_sent_nor_what_is_saved(learned, page):
    assert learned["before"] == learned["after"]
    saved = page.page.evaluate("() => window.app.graph.serialize().nodes.map(n => [n.type, n.widgets_values])")
    shipped = json.loads((WORKFLOWS / "demo_face.json").read_text(encoding="utf-8"))["nodes"]
    counts = {node["type"]: len(node["widgets_values"]) for node in shipped if node["type"].startswith("VCD_")}
    assert {kind: len(values) for kind, values in saved if kind.startswith("VCD_")} == counts


def prompt_node(page, text: str = "") -> int:
    node = page.add("CLIPTextEncode")
    page.page.evaluate(
        "([key, text]) => { const node = app.graph.getNodeById(key); node.widgets[0].value = text;"
        " app.canvas.selectNode(node) }",
        [node, text],
    )
    return node


def text_of(page) -> str:
    return page.page.evaluate("() => app.graph.nodes[0].widgets[0].value")


@pytest.mark.usefixtures("learned")
def test_the_picker_writes_the_token_into_the_selected_prompt_by_keyboard_alone(page):
    prompt_node(page, "a photo of")
    page.page.keyboard.press("Alt+i")
    page.page.wait_for_selector(".vcd-token")
    page.page.wait_for_function("() => document.querySelector('.vcd-token img')?.naturalWidth === 128")
    page.page.keyboard.type("no such token")
    page.page.wait_for_selector(".vcd-dialog >> text=No ID token is called so.")
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("mia")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".vcd-dialog", state="detached")
    assert text_of(page) == "a photo of embedding:vcd_demo/demo_mia woman"


@pytest.mark.usefixtures("learned")
def test_the_picker_writes_at_the_cursor_and_escape_leaves_all_as_it_was(page):
    prompt_node(page, "a photo of , at dawn")
    area = page.page.locator("textarea").first
    area.focus()
    area.evaluate("area => area.setSelectionRange(11, 11)")
    page.page.keyboard.press("Alt+i")
    page.page.wait_for_selector(".vcd-token")
    page.page.keyboard.press("Escape")
    page.page.wait_for_selector(".vcd-dialog", state="detached")
    assert text_of(page) == "a photo of , at dawn"
    area.evaluate("area => { area.focus(); area.setSelectionRange(11, 11) }")
    page.page.keyboard.press("Alt+i")
    page.page.click(".vcd-token:has-text('demo_mia')")
    assert text_of(page) == "a photo of embedding:vcd_demo/demo_mia woman, at dawn"


def test_a_token_without_a_noun_ends_before_a_full_stop_and_a_server_that_is_silent_is_said_to_be(page, server):
    save_file({"clip_l": torch.ones(1, 768)}, server.model_folder("embeddings") / "bare.safetensors")
    prompt_node(page, "a photo of .")
    area = page.page.locator("textarea").first
    area.evaluate("area => { area.focus(); area.setSelectionRange(11, 11) }")
    page.page.keyboard.press("Alt+i")
    page.page.click(".vcd-token:has-text('bare')")
    assert text_of(page) == "a photo of embedding:bare ."

    page.page.route("**/vcd/tokens", lambda route: route.fulfill(status=500))
    page.page.keyboard.press("Alt+i")
    page.page.wait_for_selector(".vcd-dialog >> text=could not be listed")
    page.page.keyboard.press("Escape")
    page.page.unroute("**/vcd/tokens")
    page.errors[:] = [error for error in page.errors if "/vcd/tokens" not in error]  # the page logs the answer


def test_the_menu_of_a_prompt_offers_the_picker_and_that_of_other_nodes_does_not(page):
    def offered(kind: str) -> list[str]:
        page.add(kind)
        return page.page.evaluate(
            "() => { const options = []; const node = app.graph.nodes[0];"
            " node.getExtraMenuOptions?.(app.canvas, options); return options.map(one => one?.content) }"
        )

    assert "Insert ID Token (VCD)" in offered("CLIPTextEncode")
    assert "Insert ID Token (VCD)" not in offered("EmptyLatentImage")


def test_photos_are_added_by_the_button_and_shown_with_their_masks(page, server):
    node = page.add("VCD_LoadIdentityPhotos")
    with page.page.expect_file_chooser() as chooser:
        page.page.click("text=Add photos")
    chooser.value.set_files([KIT / "1.png", KIT / "2.png", KIT / "1.mask.png"])
    page.page.wait_for_selector("text=2 photos, 1 with a mask")
    page.page.wait_for_function("() => [...document.querySelectorAll('.vcd-photos img')].every(i => i.naturalWidth)")
    assert loaded(page, ".vcd-photos img") == [True, True]
    assert page.prompt()[str(node)]["inputs"]["folder"] == "photos"
    assert sorted(path.name for path in (server.input_directory / "photos").iterdir()) == [
        "1.mask.png",
        "1.png",
        "2.png",
    ]


def test_a_photo_whose_name_is_taken_brings_its_mask_along_and_a_new_mask_replaces_the_old(page, server):
    """In the folder of the test before."""
    folder = server.input_directory / "photos"
    page.add("VCD_LoadIdentityPhotos")
    page.set("VCD_LoadIdentityPhotos", "folder", "photos")
    page.page.wait_for_selector("text=2 photos, 1 with a mask")

    def add(files: dict[str, str]) -> None:
        """Name -> which of the cat's files is sent under it."""
        with page.page.expect_file_chooser() as chooser:
            page.page.click("text=Add photos")
        sent = [(name, (KIT / source).read_bytes()) for name, source in files.items()]
        with page.page.expect_response(lambda answer: "/vcd/photos?" in answer.url):
            chooser.value.set_files([{"name": name, "mimeType": "image/png", "buffer": of} for name, of in sent])

    add({"1.mask.png": "3.mask.png", "1.png": "3.png"})
    page.page.wait_for_selector("text=3 photos, 2 with a mask")
    assert (folder / "1 (1).mask.png").read_bytes() == (KIT / "3.mask.png").read_bytes()
    assert (folder / "1.mask.png").read_bytes() == (KIT / "1.mask.png").read_bytes()
    add({"1.mask.png": "2.mask.png"})
    page.page.wait_for_selector("text=3 photos, 2 with a mask")
    assert (folder / "1.mask.png").read_bytes() == (KIT / "2.mask.png").read_bytes()


DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    const [node] = app.graph.nodes;
    return node.onDragOver({dataTransfer}) && node.onDragDrop({dataTransfer});
}"""


def test_photos_dropped_on_the_node_go_to_a_new_folder_and_what_cannot_be_read_is_named(page, server):
    page.add("VCD_LoadIdentityPhotos")
    page.set("VCD_LoadIdentityPhotos", "folder", "(none)")
    proposed = page.page.input_value(".vcd-panel input[type=text]")
    expected = f"photos_{int(proposed.removeprefix('photos').removeprefix('_') or 1) + 1}"
    (server.input_directory / proposed).mkdir()  # by somebody else, meanwhile
    (server.input_directory / proposed / "dog.png").write_bytes((KIT / "1.png").read_bytes())
    assert page.page.evaluate(DROP, ["cat.png", base64.b64encode((KIT / "3.png").read_bytes()).decode()])
    page.page.wait_for_selector("text=1 photos, 0 with a mask")
    assert [path.name for path in (server.input_directory / expected).iterdir()] == ["cat.png"]
    assert page.page.evaluate(DROP, ["cat.heic", ""])
    page.page.wait_for_selector(".vcd-error >> text=cat.heic: cannot be read here. Save it as JPEG or PNG.")
    page.page.wait_for_selector(".vcd-photos img")


def test_nothing_went_wrong_on_the_way(page):
    """Runs last: whatever the tests of this file did, the page threw nothing."""
    assert page.errors == []
