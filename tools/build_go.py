"""Build Go programs into `.tools/`: each from its own module below `tools/`, whose go.mod and go.sum pin all that it is made of.

Usage: python tools/build_go.py [NAME...]     all programs, if none is named

A program is built again only when its module has changed. What is compiled stays in Go's build cache: a build that was cut short goes on
where it was.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent
PARALLEL = 2
"""Packages that are compiled at once."""
SPEAK_SECONDS = 30.0
"""How often a build says how far it is, where it does not write to a terminal."""


@frozen
class GoProgram:
    """A program of the module `tools/<name>`."""

    name: str
    package: str = "."
    """What is built: the module itself, or a package of a module that it requires."""
    binary: str = ""
    files: tuple[str, ...] = ()
    """Files of modules that are kept beside the program, by patterns; `{version}` is the module's."""
    sources: tuple[str, ...] = ()
    """The modules that have these files."""
    static: bool = True
    """Whether it needs nothing of the machine or image that it runs on. kubelet asks the C library for users, as upstream builds it."""

    @property
    def module(self) -> Path:
        """The folder with its go.mod."""
        return ROOT / "tools" / self.name

    @property
    def path(self) -> Path:
        """Where the built program is."""
        return ROOT / ".tools" / self.name / (self.binary or self.name)

    @property
    def toolchain(self) -> str:
        """The release of Go that its go.mod asks for where the machine's own is older: the module proxy has it. None is asked for by most."""
        lines = [line.split() for line in (self.module / "go.mod").read_text().splitlines()]
        return next((words[1] for words in lines if words[:1] == ["toolchain"]), "")

    @property
    def environment(self) -> Mapping[str, str]:
        """What Go is run with."""
        static = {"CGO_ENABLED": "0"} if self.static else {}
        # A machine may say that Go takes no other release of itself; a module that names one needs it.
        return {**os.environ, **static, **({"GOTOOLCHAIN": f"{self.toolchain}+auto"} if self.toolchain else {})}

    @property
    def stamp(self) -> str:
        """A digest of all that decides what is built."""
        files = [file for file in sorted(self.module.rglob("*")) if file.suffix in (".mod", ".sum", ".go")]
        digest = hashlib.sha256(json.dumps([self.package, self.files]).encode())
        for file in files:
            digest.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def is_built(self) -> bool:
        """Whether the built program is that of the module as it is."""
        stamp = self.path.parent / "stamp"
        return os.access(self.path, os.X_OK) and stamp.exists() and stamp.read_text() == self.stamp


PROGRAMS: Mapping[str, GoProgram] = {
    program.name: program
    for program in (
        GoProgram("kubernetes", static=False),
        GoProgram("pause"),
        GoProgram("coredns"),
        GoProgram("network-policies"),
        GoProgram(
            "metrics-server",
            "sigs.k8s.io/metrics-server/cmd/metrics-server",
            files=("manifests/base/*.yaml",),
            sources=("sigs.k8s.io/metrics-server",),
        ),
        GoProgram("cert-manager", files=("deploy/crds/*.yaml",), sources=("github.com/cert-manager/cert-manager",)),
        GoProgram(
            "cloudnative-pg",
            "github.com/cloudnative-pg/cloudnative-pg/cmd/manager",
            files=("releases/cnpg-{version}.yaml",),
            sources=("github.com/cloudnative-pg/cloudnative-pg",),
        ),
        GoProgram(
            "cnpg-exporter", files=("config/manager/default-monitoring.yaml",), sources=("github.com/cloudnative-pg/cloudnative-pg",)
        ),
        GoProgram(
            "barman-cloud",
            "github.com/cloudnative-pg/plugin-barman-cloud/cmd/manager",
            files=("manifest.yaml",),
            sources=("github.com/cloudnative-pg/plugin-barman-cloud",),
        ),
        GoProgram("minio", "github.com/minio/minio"),
        GoProgram("alloy"),
        GoProgram("kube-state-metrics", "k8s.io/kube-state-metrics/v2"),
        GoProgram("loki", "github.com/grafana/loki/v3/cmd/loki"),
        GoProgram("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
        GoProgram("kube-score", "github.com/zegl/kube-score/cmd/kube-score"),
        GoProgram(
            "traefik",
            "github.com/traefik/traefik/v3/cmd/traefik",
            files=("config/crd/standard/*.yaml", "docs/content/reference/dynamic-configuration/traefik.io_*.yaml"),
            sources=("sigs.k8s.io/gateway-api", "github.com/traefik/traefik/v3"),
        ),
        GoProgram(
            "argocd",
            files=("manifests/crds/*-crd.yaml", "manifests/base/config/argocd-cm.yaml"),
            sources=("github.com/argoproj/argo-cd/v3",),
        ),
        GoProgram("livekit", "github.com/livekit/livekit-server/cmd/server", "livekit-server"),
    )
}


def build(program: GoProgram, place: str) -> None:
    """Build one. `place`: which of how many it is. Exits with what Go said if it fails."""
    environment = program.environment
    listed = subprocess.run(
        ["go", "list", "-deps", program.package], cwd=program.module, env=environment, capture_output=True, text=True, check=False
    )
    total = len(listed.stdout.splitlines())
    program.path.parent.mkdir(parents=True, exist_ok=True)
    command = ["nice", "-n", "10", "go", "build", "-v", "-p", str(PARALLEL), "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"]
    command += ["-o", str(program.path), program.package]
    started = spoken = time.monotonic()
    said: list[str] = []
    with subprocess.Popen(command, cwd=program.module, env=environment, stderr=subprocess.PIPE, text=True) as building:
        for line in building.stderr or ():
            said.append(line)
            if sys.stderr.isatty() or time.monotonic() - spoken > SPEAK_SECONDS:
                spoken = time.monotonic()
                say(f"{place} {program.name}: {len(said)} packages compiled, of {total} at most", over=True)
    if building.returncode:
        say("")
        sys.exit(f"{program.name} could not be built:\n{listed.stderr[-2000:]}{''.join(said[-30:])}")
    keep_files(program, environment)
    (program.path.parent / "stamp").write_text(program.stamp)
    say(f"{place} {program.name}: built in {time.monotonic() - started:.0f} s")


def keep_files(program: GoProgram, environment: Mapping[str, str]) -> None:
    """Copy the files of modules that are used beside it. Exits if there are none."""
    if not program.files:
        return
    modules = []
    for source in program.sources:
        command = ["go", "mod", "download", "-json", source]
        modules.append(json.loads(subprocess.run(command, cwd=program.module, env=environment, capture_output=True, check=True).stdout))
    target = program.path.parent / "files"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for pattern in program.files:
        found = [file for m in modules for file in Path(m["Dir"]).glob(pattern.format(version=m["Version"].removeprefix("v")))]
        if not found:
            sys.exit(f"{' and '.join(program.sources)}: no {pattern}")
        for file in found:
            shutil.copyfile(file, target / file.name)


def say(text: str, over: bool = False) -> None:
    """A line of progress, on a terminal in place of the one before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="" if over else "\n", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def main(names: list[str]) -> None:
    """Build what is named and not built yet."""
    if unknown := set(names) - PROGRAMS.keys():
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    wanted = [PROGRAMS[name] for name in names or PROGRAMS]
    missing = [program for program in wanted if not program.is_built()]
    if missing and not shutil.which("go"):
        sys.exit(f"Go builds {', '.join(program.name for program in missing)}: install it first (https://go.dev/doc/install)")
    for number, program in enumerate(missing, 1):
        build(program, f"[{number} of {len(missing)}]")


if __name__ == "__main__":
    main(sys.argv[1:])
