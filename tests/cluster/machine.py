"""What a machine must have for the cluster."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

MEMORY_GIB, DISK_GIB = 9.0, 12.0
TOOLS = ("ip", "nsenter", "setpriv", "unshare")


def lacks() -> str:
    """Why the cluster cannot run on this machine, in one line; empty if it can."""
    if os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        return "it needs Linux on x86-64"
    if os.geteuid() != 0:
        return "it makes network namespaces, mounts and control groups: run it as root"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"it needs {', '.join(missing)}: apt-get install iproute2 util-linux"
    if not shutil.which("apt-get"):
        return "it takes containerd, runc and what its images hold from Debian's packages, by apt-get"
    if (memory := _available_gib()) < MEMORY_GIB:
        return f"it needs {MEMORY_GIB:.0f} GiB of free memory; {memory:.1f} are free"
    disk = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    if disk < DISK_GIB:
        return f"it needs {DISK_GIB:.0f} GiB of disk below {tempfile.gettempdir()}; {disk:.1f} are free"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "its containers need the file system overlay, which this kernel lacks"
    return _kernel_lacks()


def _available_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def _kernel_lacks() -> str:
    own = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private", "--", "sh", "-c", "mount --make-rshared /"]
    run = subprocess.run(own, capture_output=True, text=True, check=False, timeout=20)
    return f"namespaces cannot be made here: {run.stderr.strip()}" if run.returncode else ""
