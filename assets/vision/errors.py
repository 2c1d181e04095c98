"""What can go wrong with pictures.

::

    VisionError
    ├── PictureError         one picture cannot be used; its row is kept, invalid, and listed in `rejects`
    │   └── FetchError       the bytes of one picture could not be had
    └── BuildError           the partition cannot be built at all (nothing was published)
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "missing",  # no value in the document
    "wrong_form",  # a value that none of the declared sources can be
    "not_found",  # the file, object, GridFS file or URL does not exist
    "refused",  # fetching it is not allowed: outside the root, an undeclared host, a private address
    "fetch_failed",  # it could not be had after all retries
    "empty",  # zero bytes
    "too_many_bytes",  # larger than `max_bytes`
    "unknown_format",  # no signature of a picture
    "format_not_allowed",  # a known format that is never opened
    "bad_header",  # the header contradicts itself
    "too_many_pixels",  # more than `max_pixels`
    "truncated",  # the data end early
    "corrupt",  # the data cannot be decoded
    "timeout",  # decoding took longer than `timeout_seconds`
    "crashed",  # the decoder died
    "out_of_memory",  # the decoder asked for more memory than it may have
    "not_a_mask",  # a mask image with colours
    "size_mismatch",  # a mask image of another size than its picture
    "image_rejected",  # the picture that boxes, points or a mask belong to is rejected
]
"""Why a picture was not used. Reasons are only ever added to."""


class VisionError(Exception):
    """Base of every error of `assets.vision`."""


class PictureError(VisionError):
    """One picture cannot be used.

    Parameters
    ----------
    reason
        A word of `Reason`.
    expected
        What would have been allowed.
    got
        What was found; never more than a few words, and never a secret.
    """

    def __init__(self, reason: Reason, *, expected: str = "", got: str = "") -> None:
        super().__init__(f"{reason}: expected {expected or 'a picture'}, got {got or 'nothing'}")
        self.reason: Reason = reason
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore, (type(self), self.reason, self.expected, self.got))


class FetchError(PictureError):
    """The bytes of one picture could not be had."""


class BuildError(VisionError):
    """A partition cannot be built; nothing was published."""


def _restore(kind: type[PictureError], reason: Reason, expected: str, got: str) -> PictureError:
    return kind(reason, expected=expected, got=got)
