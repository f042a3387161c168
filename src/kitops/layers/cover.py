"""What of an image's layer is hidden: a later layer has something in its place.

Source: image-spec, ``layer.md``, "Applying Changesets".
"""

from __future__ import annotations


class Cover:
    """The paths of newer layers, which older ones lie under."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._directories: set[str] = set()
        self._above: set[str] = set()  # directories that are there because something is in them

    def add(self, path: str, *, is_dir: bool) -> None:
        """Take in a member of a layer that is newer than those that are asked about from now on."""
        (self._directories if is_dir else self._files).add(path)
        while (path := path.rpartition("/")[0]) and path not in self._above:
            self._above.add(path)

    def hides(self, path: str, *, is_dir: bool) -> bool:
        """Whether a member of an older layer is not seen: a newer one tells of its path, or has a file above it."""
        if path in self._files or path in self._directories or (path in self._above and not is_dir):
            return True
        while path := path.rpartition("/")[0]:
            if path in self._files:
                return True
        return False
