"""A node's help on the page: its text, and its pictures from the pack's own folder."""

SHOWN = """() => {
    const [picture] = document.querySelectorAll("img[src$='/docs/images/face.jpg']");
    return picture?.complete && picture.naturalWidth > 0;
}"""


def test_node_info_shows_the_help_with_its_pictures(page):
    page.add("VCD_FaceVCD")
    with page.menu():
        page.page.evaluate(
            "() => { const {canvas, graph} = app; canvas.ds.offset[1] = 200; canvas.selectNode(graph.nodes[0]);"
            " canvas.setDirty(true, true) }"  # below the page's bars: the button is above the node
        )
        page.page.get_by_test_id("info-button").click()
        page.page.get_by_text("Follows the faces in a clip and draws each one anew").first.wait_for()
        page.page.wait_for_function(SHOWN)
        page.page.get_by_test_id("info-button").dispatch_event("click")  # closes it; it may lie over the button
