"""Whether an opened dataset is the published one: by the digest of its files, else by its counts."""

from collections.abc import Mapping

from amodal_bench.plugin import AnyDataset
from amodal_bench.types import parse_id

_FEWER = 0.9  # of the published images, the least that are not taken for other files: options leave instances out


def counted(dataset: AnyDataset) -> dict[str, int]:
    """What a card may state of a split: `images`, `groups`, `annotations` (before the funnel) and `instances`."""
    ids = list(dataset.ids())
    return {
        "images": len({parse_id(id).image for id in ids}),
        "groups": len({dataset.group(id) for id in ids}),
        "annotations": dataset.funnel.read,
        "instances": len(ids),
    }


def release_of(dataset: AnyDataset) -> str:
    """The known release that these files are; empty where their fingerprint is none of the card's."""
    fingerprint = dataset.fingerprint()
    return next((name for key, name in dataset.card.releases.items() if fingerprint.startswith(key)), "")


def unlike_published(dataset: AnyDataset) -> str:
    """Why the files are not the published ones, as in `not the published data (images: 40, published 7,517)`.

    Empty for a known release, for data that the project makes, and where the card publishes no counts. Annotations are
    counted before any option applies and must be equal; images and groups without a kept instance are not seen, so that
    a tenth may be missing; instances depend on the options and tell nothing.
    """
    if dataset.card.embedded or release_of(dataset):
        return ""
    found, published = counted(dataset), dataset.card.splits[dataset.split]
    differing = [f"{name}: {found[name]:,}, published {number:,}" for name, number in _differing(found, published)]
    return f"not the published data ({'; '.join(differing)})" if differing else ""


def _differing(found: Mapping[str, int], published: Mapping[str, int]) -> list[tuple[str, int]]:
    return [
        (name, number)
        for name, number in published.items()
        if (name == "annotations" and found[name] != number)
        or (name in ("images", "groups") and not _FEWER * number <= found[name] <= number)
    ]
