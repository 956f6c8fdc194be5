"""The command line: every command explains itself, and every failure says what to do, exits 2 and leaves everything as it was."""

import errno
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

import overlays
from app import compiler
from app.cli import main
from app.dist import DistError, write_tree
from app.gitops.operators import wanted
from app.settings import read_site
from kit import images
from kit.images import image_lock
from overlays import Profile, ProfileError, profiles
from overlays.profile import ErasureSize
from tests.kustomize import ROOT
from tests.unit.test_room import LI

SITE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
SMALLEST = profiles()[0]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    return file


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A `dist/` that an earlier synth has written."""
    folder = tmp_path / "dist"
    write_tree(folder, {"base/kustomization.yaml": "old\n"})
    return folder


def with_profiles(monkeypatch: pytest.MonkeyPatch, *chosen: Profile) -> None:
    monkeypatch.setattr(overlays, "profiles", lambda: chosen)


def with_workers(**changes: Any) -> Profile:
    """The smallest profile with other numbers of workers."""
    return evolve(SMALLEST, synapse=evolve(SMALLEST.synapse, workers=evolve(SMALLEST.synapse.workers, **changes)))


@pytest.mark.parametrize("command", ["", *main.commands])
def test_every_command_explains_itself(command: str) -> None:
    result = run(*([command] if command else []), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert len(result.output.splitlines()) > 4


def test_a_mistake_in_the_site_is_reported_and_nothing_is_written(site: Path, dist: Path) -> None:
    site.write_text(SITE + "storage_clas: {default: x}\n")
    result = run("synth", "--site", str(site), "--out", str(dist))
    assert result.exit_code == 2
    assert result.output == f'{site}:3:1: unknown key "storage_clas"; did you mean "storage_classes"?\n1 error; nothing was written.\n'
    assert (dist / "base/kustomization.yaml").read_text() == "old\n"


def test_a_site_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    result = run("synth", "--site", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "dist"))
    assert (result.exit_code, "none.yaml" in result.output) == (2, True)
    assert not (tmp_path / "dist").exists()


def test_a_profile_that_cannot_be_deployed_is_refused_with_the_reason(site: Path, dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_profiles(monkeypatch, with_workers(extra={"typing-persister": 2}))
    result = run("synth", "--site", str(site), "--out", str(dist))
    assert result.exit_code == 2
    assert "profile 100-ccu: typing-persister: 2 instances, and Synapse allows one" in result.output
    assert result.output.endswith("nothing was written.\n")
    assert (dist / "base/kustomization.yaml").read_text() == "old\n"


def test_what_backups_do_not_survive_and_which_sizes_copy_too_little_is_said_as_a_site_is_compiled(site: Path, dist: Path) -> None:
    site.write_text(SITE + LI)
    result = run("synth", "--site", str(site), "--out", str(dist))
    assert (result.exit_code, "caution: backups.object_storage.backend: with-media: " in result.output) == (0, True), result.output
    sizes = ", ".join(profile.name for profile in profiles())
    assert f"caution: minio-li has no room for all media that minio-main may have: {sizes}. `check` says what is missing\n" in result.output


def test_an_unknown_profile_suggests_the_nearest() -> None:
    result = run("budget", "--profile", "1000ccu")
    assert (result.exit_code, "did you mean 1000-ccu?" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"redis": evolve(SMALLEST.redis, servers=4)}, "Sentinels vote, so their number must be odd and at least 3"),
        ({"redis": evolve(SMALLEST.redis, servers=1)}, "Sentinels vote, so their number must be odd and at least 3"),
        ({"minio": evolve(SMALLEST.minio, drives=1)}, "EC:4 needs an erasure set of at least 8 drives"),
        ({"minio_li": evolve(SMALLEST.minio_li, nodes=3)}, "needs at least 4"),
    ],
    ids=str,
)
def test_a_number_that_the_software_would_refuse_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProfileError, match=reason):
        evolve(SMALLEST, **change)


def test_pools_that_exceed_the_databases_connections_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"85% of max_connections=168 is 142: raise postgresql.max_connections or lower"):
        SMALLEST.check_connections(30, 143)
    SMALLEST.check_connections(30, 142)


def test_several_broken_rules_are_reported_together() -> None:
    with pytest.raises(ProfileError) as error:
        evolve(
            SMALLEST,
            redis=evolve(SMALLEST.redis, servers=2),
            minio=ErasureSize(nodes=2, drive=SMALLEST.minio.drive, cpu=SMALLEST.minio.cpu, memory=SMALLEST.minio.memory),
        )
    assert len(str(error.value).splitlines()) == 2


# --- Writing dist/


def test_dist_holds_exactly_the_files_of_the_last_synth(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    write_tree(folder, {"base/kustomization.yaml": "a\n", "base/gone.yaml": "b\n"})
    write_tree(folder, {"base/kustomization.yaml": "c\n", "base/deep/er.yaml": "d\n"})
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {"base/kustomization.yaml": "c\n", "base/deep/er.yaml": "d\n"}
    assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_a_full_disk_leaves_dist_as_it_was(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def fails_at_the_second_file(self: Path, *_: object, **__: object) -> None:
        written.append(self)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", fails_at_the_second_file)
    with pytest.raises(DistError, match="No space left on device"):
        write_tree(dist, {"base/kustomization.yaml": "new\n", "base/other.yaml": "new\n"})
    monkeypatch.undo()
    assert (dist / "base/kustomization.yaml").read_text() == "old\n"
    assert [path.name for path in dist.parent.iterdir() if path.name.startswith(".dist")] == []


def test_a_folder_that_somebody_else_keeps_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("keep")
    with pytest.raises(DistError, match="is not a folder that synth has written"):
        write_tree(tmp_path / "precious", {"base/kustomization.yaml": ""})
    assert (tmp_path / "precious/file").read_text() == "keep"


def test_synth_says_why_it_cannot_write(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compiler, "compile_site", lambda *_: {"base/kustomization.yaml": ""})
    result = run("synth", "--site", str(site), "--out", str(tmp_path / "file"))
    assert (result.exit_code, "choose another with --out" in result.output) == (2, True)


# --- A profile that somebody wrote

EVOLVED = "from overlays.ccu_100 import PROFILE\nfrom attrs import evolve\nPROFILE = evolve(PROFILE, "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("PROFILE = 1", "overlays/ccu_7.py: has no PROFILE"),
        ("x = 1", "overlays/ccu_7.py: has no PROFILE"),
        ("def broken(", "overlays/ccu_7.py: SyntaxError: '(' was never closed"),
        (
            EVOLVED + "redi=3)",
            "overlays/ccu_7.py: TypeError",
        ),
        (
            EVOLVED + "redis=evolve(PROFILE.redis, servers=4))",
            "overlays/ccu_7.py: profile 100-ccu: redis.servers=4",
        ),
        ("from overlays.ccu_100 import PROFILE", "two profiles have the same number of concurrent users: 100-ccu, 100-ccu"),
    ],
    ids=["not one", "none", "syntax", "unknown field", "broken rule", "twice"],
)
@pytest.mark.parametrize("command", ["synth", "budget", "images", "reach"])
def test_a_profile_that_cannot_be_used_is_named_with_its_file(
    command: str, text: str, reason: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ccu_7.py").write_text(text)
    monkeypatch.setattr(overlays, "__path__", [*overlays.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "overlays.ccu_7", raising=False)
    monkeypatch.setattr(overlays, "profiles", overlays.profiles.__wrapped__)
    out = ["--out", str(tmp_path / "dist")] if command == "synth" else []
    result = run(command, "--site", str(site), *out)
    monkeypatch.delitem(sys.modules, "overlays.ccu_7", raising=False)
    assert (result.exit_code, reason in result.output) == (2, True), result.output
    assert not (tmp_path / "dist").exists()


def test_given_values_are_taken_from_their_folder_and_a_wrong_one_is_refused(site: Path, tmp_path: Path) -> None:
    site.write_text(
        SITE + "secrets: {provider: manual}\nobject_storage: {backend: external, external: {endpoint: https://s3.example.com}}\n"
    )
    arguments = ("secrets", "--site", str(site), "--out", str(tmp_path / "out"))
    lacking = run(*arguments)
    assert (lacking.exit_code, "still to be given: " in lacking.output) == (3, True)
    given = tmp_path / "given"
    for user in ("media", "backups", "media-sweep"):
        folder = given / "matrix" / f"object-storage-user-{user}"
        folder.mkdir(parents=True)
        (folder / "access-key").write_text("a")
        (folder / "secret-key").write_text("b")
    assert run(*arguments, "--given", str(given)).exit_code == 0
    (given / "stray").write_text("")
    stray = run(*arguments, "--given", str(given))
    assert (stray.exit_code, "/<namespace>/<secret>/<key>" in stray.output) == (2, True)


def test_reach_knows_who_stands_at_the_edges_of_the_platform(site: Path) -> None:
    def verdict(source: str, target: str) -> int:
        return run("reach", source, target, "--site", str(site)).exit_code

    assert verdict("ingress-controller", "haproxy:8008") == 0
    assert verdict("ingress-controller", "haproxy:8009") == 1
    assert verdict("world", "haproxy:8008") == 1
    assert verdict("client-reader", "dns") == 0


def test_reach_without_names_says_who_reaches_whom(site: Path) -> None:
    lines = run("reach", "--site", str(site)).output.splitlines()
    (public,) = [line.split(maxsplit=3)[1:] for line in lines if line.startswith("  haproxy") and "8008" in line]
    assert public == ["8008", "public", "traefik: ingress-controller"]
    assert any(line.startswith("  postgresql-main") for line in lines)


def test_the_images_of_a_site_that_are_made_from_here_come_with_the_commands_that_make_them(site: Path) -> None:
    plain, antivirus = run("images", "--site", str(site), "--build"), site.with_name("antivirus.yaml")
    antivirus.write_text(SITE + "features: {antivirus: true}\n")
    synapse = image_lock()["synapse"].reference("registry.example.com/matrix")
    assert plain.output == f"podman build --tag {synapse} --file services/synapse/Containerfile services && podman push {synapse}\n"
    lines = run("images", "--site", str(antivirus), "--build").output.splitlines()
    assert [line.split()[3].rpartition("/")[2].partition(":")[0] for line in lines] == ["scan-worker", "synapse"]


def test_the_images_of_the_operators_are_listed_by_the_names_of_the_mirror(site: Path) -> None:
    site.write_text(SITE.replace("matrix}", "matrix, mirror: registry.example.com/mirror}"))
    plain, all_of_them = (run("images", "--site", str(site), *more).output.splitlines() for more in ((), ("--operators",)))
    assert all_of_them[: len(plain)] == plain
    theirs = {image.reference.partition("/")[2] for operator in wanted(read_site(site)) for image in operator.images}
    assert {name.removeprefix("registry.example.com/mirror/") for name in all_of_them[len(plain) :]} == theirs != set()


def test_a_release_is_refused_while_an_image_of_others_has_a_tag_alone(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, lock = f"sha256:{'0' * 64}", tmp_path / "images.toml"
    text = images.LOCK_FILE.read_text()
    for image in image_lock().values():
        if not image.built:
            text = images.pinned(text, image.name, digest)
    monkeypatch.setattr(images, "LOCK_FILE", lock)
    try:
        for written, code in ((text, 0), (text.replace(f'digest = "{digest}"\n', "", 1), 1)):
            lock.write_text(written)
            image_lock.cache_clear()
            said = run("images", "--site", str(site), "--check")
            assert said.exit_code == code, said.output
        # Alertmanager, which comes first and which this site does not deploy.
        first = next(image for image in image_lock().values() if not image.digest)
        assert f"{first.repository}:{first.tag}: has no digest" in said.output
        assert f"1 of {sum(not image.built for image in image_lock().values())} images have no digest" in said.output
    finally:
        image_lock.cache_clear()


def test_the_version_has_its_section_in_the_list_of_changes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\n## {project['version']}\n" in (ROOT / "CHANGELOG.md").read_text()
