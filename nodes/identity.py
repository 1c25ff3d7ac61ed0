"""Photos of one subject."""

from comfy_api.latest import io

from ..vcd_core.identity import load_photos
from .convert import photos_from_batch
from .host.folders import check_photo_folder, photo_folder, photo_folders
from .sockets import Photos

NO_FOLDER = "(none)"


class LoadIdentityPhotos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadIdentityPhotos",
            display_name="Load Identity Photos (VCD)",
            category="VCD/identity",
            description="5-10 photos of one person, animal or thing, from a folder, from images, or both. Four drawn "
            "characters come with the pack.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=[NO_FOLDER, *photo_folders()],
                    default=NO_FOLDER,
                    tooltip="A folder of photos inside ComfyUI's input folder: jpg, png, webp, bmp, tiff. 1.mask.png "
                    "is the mask of 1.jpg, a cut-out with a transparent background its own; 1.txt is the caption. "
                    "demo://… are characters that come with the pack, for its demo model.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="Photos from other nodes, added to those of the folder.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="White where the subject is, one for each image. Without it the whole photo counts.",
                ),
            ],
            outputs=[Photos.Output(display_name="photos")],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        return folder == NO_FOLDER or check_photo_folder(folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str, **_) -> list[tuple]:
        if folder in (NO_FOLDER, None):
            return []
        files = sorted(path for path in photo_folder(folder).iterdir() if path.is_file())
        return [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files]

    @classmethod
    def execute(cls, folder: str, images=None, masks=None) -> io.NodeOutput:
        if masks is not None and images is None:
            raise ValueError(
                "there are masks without images: connect the images that they belong to. The mask of a photo in a "
                "folder lies beside it, 1.mask.png beside 1.jpg"
            )
        photos = [] if folder == NO_FOLDER else load_photos(photo_folder(folder))
        if images is not None:
            photos += photos_from_batch(images, masks)
        if not photos:
            raise ValueError("there are no photos: choose a folder or connect images, 5-10 of one subject")
        return io.NodeOutput(photos)


NODES = [LoadIdentityPhotos]
