"""Our own programs of `services/` as containers: they run on Synapse's image, which has Python and what they import."""

from importlib import resources

from kit.component import Component
from kit.images import image
from kit.pods import ConfigMap, Container, Mount, Scratch
from kit.quantities import Resources, mib

ROOT = "/opt/matrix-platform"
"""Where the programs stand in a container: the folder for Python's path."""
_REQUEST = "/etc/matrix-platform"


def program_files(package: str) -> dict[str, str]:
    """The text of a program's files, by name; `package` is a folder of `services/`."""
    folder = resources.files(f"services.{package}")
    return {file.name: file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name) if file.name.endswith(".py")}


def _code(component: Component, name: str, package: str, own_folder: bool) -> ConfigMap:
    """A program's files. `own_folder`: below `dist/base/config`, where the component has files of the same names."""
    files = program_files(package)
    return component.config(name, files, stored={file: f"{package}/{file}" for file in files} if own_folder else {})


def program(
    component: Component,
    package: str,
    module: str,
    request: str,
    resources: Resources,
    mounts: tuple[Mount, ...] = (),
    *,
    name: str = "",
    asks_api: bool = False,
) -> Container:
    """A container that runs `services.<package>.<module>` with a request file.

    Program and request are ConfigMaps of the component: no new image is needed when one of them changes. `name`: of these, the component's
    unless it has several programs. `asks_api`: it uses what programs share that ask the Kubernetes API.
    """
    own_folder, name = bool(name), name or component.name
    packages = {package: _code(component, f"{name}-program", package, own_folder)}
    if asks_api:
        packages["kubernetes_api"] = _code(component, f"{name}-api", "kubernetes_api", True)
    asked = component.config(f"{name}-request", {"request.json": request}, stored={"request.json": f"{name}.json"})
    return Container(
        name=module,
        image=image("synapse"),
        command=("python", "-m", f"services.{package}.{module}", f"{_REQUEST}/request.json"),
        env={"PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
        mounts=(
            *(Mount(code, f"{ROOT}/services/{folder}") for folder, code in packages.items()),
            Mount(asked, _REQUEST),
            *mounts,
            Mount(Scratch("tmp", mib(16)), "/tmp"),
        ),
        resources=resources,
    )
