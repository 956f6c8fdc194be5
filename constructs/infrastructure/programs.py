"""Our own programs of `services/` as containers: they run on Synapse's image, which has Python and what they import."""

from importlib import resources

from kit.component import Component
from kit.images import image
from kit.pods import Container, Mount, Scratch
from kit.quantities import Resources, mib

ROOT = "/opt/matrix-platform"
"""Where the programs stand in a container: the folder for Python's path."""
_REQUEST = "/etc/matrix-platform"


def program_files(package: str) -> dict[str, str]:
    """The text of a program's files, by name; `package` is a folder of `services/`."""
    folder = resources.files(f"services.{package}")
    return {file.name: file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name) if file.name.endswith(".py")}


def program(
    component: Component, package: str, module: str, request: str, resources: Resources, mounts: tuple[Mount, ...] = ()
) -> Container:
    """A container that runs `services.<package>.<module>` with a request file.

    Program and request are ConfigMaps of the component: no new image is needed when one of them changes.
    """
    code = component.config(f"{component.name}-program", program_files(package))
    asked = component.config(f"{component.name}-request", {"request.json": request}, stored={"request.json": f"{component.name}.json"})
    return Container(
        name=module,
        image=image("synapse"),
        command=("python", "-m", f"services.{package}.{module}", f"{_REQUEST}/request.json"),
        env={"PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
        mounts=(
            Mount(code, f"{ROOT}/services/{package}"),
            Mount(asked, _REQUEST),
            *mounts,
            Mount(Scratch("tmp", mib(16)), "/tmp"),
        ),
        resources=resources,
    )
