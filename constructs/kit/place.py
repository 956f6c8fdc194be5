"""Where an instance stands: one class of component serves the main instance and the lawful-intercept instance, each in its place."""

from attrs import frozen


@frozen
class Place:
    """Where the components of one instance stand.

    `layer`: their folder below `dist/base`, empty for its root. `suffix`: how their names, folders and configuration end, such as `-li`, so
    that a second instance stands beside the first.
    """

    layer: str
    namespace: str
    suffix: str = ""

    @property
    def instance(self) -> str:
        """What the instance is called where the files of all instances stand in one folder: `main`, or the suffix."""
        return self.suffix.lstrip("-") or "main"
