"""What the releases of KINS share: KITTI's images and the categories' numbers."""

from amodal_bench.formats.writers.coco import CocoWriter, PhotoEntry


class KinsWriter(CocoWriter):
    """testing/image_2/%06d.png, or training/; the file's number is the image's id."""

    known = {"cyclist": 1, "pedestrian": 2, "rider": 3, "car": 4, "tram": 5, "truck": 6, "van": 7, "misc": 8}

    def image_file(self, photo: PhotoEntry) -> tuple[str, str]:
        return f"{self.split}ing/image_2", f"{photo.number:06d}.png"
