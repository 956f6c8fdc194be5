"""What a pod's containers find on disk: the kubelet's way of writing volumes, and the programs of images under the images' names."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.live.cluster import network
from tests.live.cluster.pods import Volume
from tests.live.cluster.sandbox import Image

STATE = Path("/run/node")
"""All that the node keeps: in memory, in its own mount namespace."""


def write_volume(volume: Volume, folder: Path, group: int | None) -> None:
    """Make a volume's folder as the kubelet does, with links from the files to a folder that it could swap.

    Its owner is root; `group` (fsGroup) owns it too, and may write to what is not made of files that are given.
    """
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if volume.memory_limit is not None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={volume.memory_limit},mode=0777", "tmpfs", str(folder)]
        subprocess.run(command, check=True, timeout=10)
    if volume.files is None:
        # An emptyDir is open to all; a claim's file system is root's, and fsGroup's.
        if fresh:
            folder.chmod(0o2777 if group is not None else 0o777)
            os.chown(folder, 0, group or 0)
        return
    data = folder / "..data-1"
    data.mkdir()
    (folder / "..data").symlink_to(data.name)
    for path, content in volume.files.items():
        file = data / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(volume.mode | (0o440 if group is not None else 0))
        os.chown(file, 0, group or 0)
        if not (top := folder / Path(path).parts[0]).is_symlink():
            top.symlink_to(f"..data/{top.name}")


async def remove_volumes(folder: Path) -> None:
    """Take a pod's folder away, with what is mounted in it."""
    for volume in (folder / "volumes").glob("*"):
        if volume.is_mount():
            await network.run(["umount", "--lazy", str(volume)], "", check=False)
    shutil.rmtree(folder, ignore_errors=True)


def aliases_of(name: str, stand_in: Image) -> str:
    """The folder with an image's aliases, made when it is first asked for."""
    if not stand_in.aliases:
        return ""
    folder = STATE / "aliases" / name.replace("/", "_").replace(":", "_")
    if not folder.exists():
        folder.mkdir(parents=True)
        for alias, program in stand_in.aliases.items():
            (folder / alias).symlink_to(shutil.which(program) or program)
    return str(folder)
