"""The command that starts a container: a root of its own, made by bubblewrap, and the user and rights that its pod names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from tests.live.cluster.pods import Mount, User

# What a program needs of the machine's /etc; a container's own files are laid over it.
_ETC = (
    "alternatives",
    "ca-certificates",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "protocols",
)
_ETC_MORE = ("services", "ssl")
_TOP = ("bin", "sbin", "lib", "lib64", "lib32")


@frozen
class Image:
    """The programs that stand in for a container image: where they are on this machine, and what the image sets.

    `folders` are seen at their own paths. `path` comes before the machine's own PATH. `aliases`: names under which the image has programs
    that this machine calls otherwise.
    """

    folders: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict)
    entrypoint: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(factory=dict)
    files: Mapping[str, str] = field(factory=dict)
    """Further files and folders that the image has: path in it to path on this machine."""
    stop_signal: str = "SIGTERM"
    """The image's STOPSIGNAL, with which a kubelet asks its first process to end."""
    heavy: bool = False
    """Whether it costs seconds of CPU to start, so that not all may start at once."""

    def variables(self, aliases: str) -> dict[str, str]:
        """The image's environment. `aliases`: the folder that holds the aliases."""
        path = [
            *([aliases] if self.aliases else []),
            *self.path,
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
        ]
        return {"PATH": ":".join(path), "HOME": "/", "LANG": "C.UTF-8", **self.environment}


def container_command(
    image: Image,
    words: Sequence[str],
    who: User,
    *,
    network: str | None,
    hostname: str,
    etc: Path,
    mounts: Sequence[tuple[Mount, Path]],
    read_only: bool,
    information: int,
    aliases: str = "",
) -> list[str]:
    """What the node runs for a container. `network`: name of its network namespace; `etc`: a folder with its resolv.conf, passwd and so on.

    `information`: a descriptor to which bubblewrap writes the number of the container's first process, as JSON.
    """
    enter = ["nsenter", f"--net=/run/netns/{network}"] if network else []
    command = [*enter, "bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", hostname]
    command += ["--as-pid-1", "--die-with-parent", "--info-fd", str(information), "--ro-bind", "/usr", "/usr"]
    for name in _TOP:
        if (link := Path("/", name)).is_symlink():
            command += ["--symlink", str(link.readlink()), f"/{name}"]
        elif link.exists():
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    command += _rooms_in_usr(image)
    command += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--perms", "1777", "--dir", "/tmp"]
    binds = [(f"/etc/{name}", f"/etc/{name}", True) for name in _ETC if Path("/etc", name).exists()]
    binds += [(str(file), f"/etc/{file.name}", True) for file in sorted(etc.iterdir())]
    binds += [(folder, folder, True) for folder in (*image.folders, *([aliases] if image.aliases else []))]
    binds += [(outside, inside, True) for inside, outside in image.files.items()]
    binds += [(str(source), mount.path, mount.read_only) for mount, source in mounts]
    made = {"/", "/usr", "/tmp", "/dev", "/proc"}
    # What is mounted above something else comes first, or would hide it: this repository may stand below /tmp, where pods have a volume.
    for outside, inside, only_read in sorted(binds, key=lambda bind: Path(bind[1]).parts):
        # Bubblewrap would make the folders above a mount for root alone.
        for folder in reversed([str(parent) for parent in Path(inside).parents if str(parent) not in made]):
            command += ["--perms", "0755", "--dir", folder]
            made.add(folder)
        command += ["--ro-bind" if only_read else "--bind", outside, inside]
        made = {folder for folder in made if not folder.startswith(f"{inside}/")} | {inside}
    for folder in sorted({"/run", "/var"} - made):
        command += ["--perms", "0755", "--dir", folder]
    command += ["--remount-ro", "/"] if read_only else []
    return [*command, "--chdir", "/", "--", *as_user(who), *words]


def _rooms_in_usr(image: Image) -> list[str]:
    """Folders of /usr in which an image has a file that the machine has not: made anew with the same content, or nothing could be added."""
    folders = {Path(inside).parent for inside in image.files if Path("/usr") in Path(inside).parents and not Path(inside).exists()}
    words = []
    for folder in sorted(folders):
        words += ["--tmpfs", str(folder)]
        for entry in sorted(folder.iterdir()):
            words += ["--symlink", str(entry.readlink()), str(entry)] if entry.is_symlink() else ["--ro-bind", str(entry), str(entry)]
    return words


def exec_command(process: int, words: Sequence[str], who: User) -> list[str]:
    """What the node runs to start a further program in a container, by the container's first process. It ends with the node's own process."""
    return [
        "nsenter",
        "--target",
        str(process),
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--uts",
        "--",
        *as_user(who, "--pdeathsig", "KILL"),
        *words,
    ]


def as_user(who: User, *more: str) -> list[str]:
    """The words before a command that make it run as a user."""
    command = ["/usr/bin/setpriv", *more, "--reuid", str(who.uid), "--regid", str(who.gid)]
    command += ["--groups", ",".join(map(str, who.groups))] if who.groups else ["--clear-groups"]
    if who.capabilities is not None:
        kept = "".join(f",+{name.lower()}" for name in who.capabilities)
        command += [f"--bounding-set=-all{kept}", "--inh-caps=-all"]
    return [*command, *(["--no-new-privs"] if who.no_new_privileges else [])]


def etc_files(
    hostname: str, address: str, who: User, *, nameserver: str, search: Sequence[str], dns: Mapping[str, object]
) -> dict[str, str]:
    """The files of /etc that the kubelet and the image give to a container."""
    config = dns.get("dnsConfig") or {}
    assert isinstance(config, Mapping)
    given = {option["name"]: option.get("value") for option in config.get("options") or ()}
    options = {"ndots": "5", **given}
    words = " ".join(f"{name}:{value}" if value else name for name, value in options.items())
    return {
        "resolv.conf": f"search {' '.join([*search, *(config.get('searches') or ())])}\nnameserver {nameserver}\noptions {words}\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost\n{address} {hostname}\n",
        "hostname": f"{hostname}\n",
        "passwd": f"root:x:0:0:root:/root:/bin/sh\napp:x:{who.uid}:{who.gid}::/:/bin/sh\n"
        if who.uid
        else "root:x:0:0:root:/root:/bin/sh\n",
        "group": f"root:x:0:\napp:x:{who.gid}:\n" if who.gid else "root:x:0:\n",
    }
