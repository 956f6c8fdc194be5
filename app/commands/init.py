"""`init`: a new site.yaml, by questions, by flags, or from what a cluster says."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.common import fail
from app.commands.output import heading, progress
from app.errors import UserError
from app.new_site import Tree, got, put, site_text
from app.questions import QUESTIONS, Question, choices, flags_in, needed
from app.settings import SettingsError, parse_site
from kit.options import Flag, OptionError, plain

if TYPE_CHECKING:
    from app.inspection.surroundings import Surroundings
    from app.moving_in import TakenOver
    from kit.rendering import Rendering


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for each question."""
    for question in reversed(QUESTIONS):
        flag = isinstance(question.option.kind, Flag)
        words = f"{question.flag}/{question.flag.replace('--', '--no-', 1)}" if flag else question.flag
        command = click.option(words, question.name, default=None, is_flag=flag, help=f"{question.text} (`{question.key}`).")(command)
    return command


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("site.yaml"), show_default=True, help="The file to write.")
@click.option("--cluster", is_flag=True, help="Read the cluster of your kubectl first: what it tells is proposed.")
@click.option("--context", help="The context of kubectl, with --cluster.")
@click.option(
    "--from",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file of the installation that moves in: homeserver.yaml or its folder, workers' files, registrations, values of ess-helm. Several times.",
)
@click.option("--no-questions", is_flag=True, help="Ask nothing, also on a terminal: flags, the cluster and defaults answer.")
@_flags
def init(out: Path, cluster: bool, context: str | None, sources: tuple[Path, ...], no_questions: bool, **flags: Any) -> None:
    """Write a new site.yaml. A file that is there is never replaced.

    On a terminal it asks what no flag has answered; an empty answer takes what is proposed. With --cluster it proposes what the API says: storage
    and ingress classes, zones, where DNS and the ingress controller are, the addresses of nodes, pods, Services and the API server. It is only
    read. With --from it takes over what another installation says, and names line by line what it could not, why, and what to do: here, and at the
    end of the file. Secrets are named with the Secret that they belong in, and never copied. What is written has been compiled for the smallest
    profile: `check` accepts it.
    """
    from app.inspection.surroundings import Surroundings

    _refuse_what_is_there(out)
    taken = _taken_over(sources) if sources else None
    tree: Tree = taken.tree if taken else {}
    for question in QUESTIONS:
        if (value := flags[question.name]) is not None:
            _answer(tree, question, value)
    seen = _seen(context) if cluster else Surroundings()
    if sys.stdin.isatty() and not no_questions:
        _ask(tree, seen)
    else:
        _propose(tree, seen.answers)
    lacking = [question.flag for question in QUESTIONS if question.option.required and got(tree, question.key) is None]
    if lacking:
        fail(f"there is nobody to ask: give {' and '.join(lacking)}, or run this on a terminal\nnothing was written.")
    left = [str(note) for note in _beside_the_platforms(taken).notes] if taken else []
    text = site_text(tree, left)
    _compiled(text)
    _write(out, text)
    for line in left:
        click.echo(line)
    for line in seen.unknown:
        click.echo(f"caution: {line}", err=True)
    heading(f"{out} is written")
    click.echo(
        f"Look at it, then: python -m app check --site {out}; with --cluster, what your cluster lacks. docs/01-DEPLOYMENT-GUIDE.md goes on."
    )


def _answer(tree: Tree, question: Question, value: Any) -> None:
    """Note what a flag says."""
    try:
        put(tree, question.key, value if isinstance(value, bool) else question.read(value))
    except ValueError as error:
        raise UserError(f"{question.flag}: {error}\nnothing was written.") from None


def _ask(tree: Tree, seen: "Surroundings") -> None:
    """Ask what is open, and note what was answered."""
    heading("An empty answer takes what stands in brackets, or leaves the option out.")
    for question in QUESTIONS:
        if got(tree, question.key) is not None or not question.asked(tree):
            continue
        proposed = seen.answers.get(question.key, question.option.default)
        if isinstance(question.option.kind, Flag):
            answer: Any = click.confirm(question.text, default=bool(proposed))
        else:
            answer = _asked(question, _shown(proposed, tree), choices(question, seen.there), must=needed(question, tree))
        if answer not in ("", question.option.default):
            put(tree, question.key, answer)


def _asked(question: Question, proposed: str, words: tuple[str, ...], *, must: bool) -> Any:
    text = f"{question.text} ({', '.join(words)})" if words else question.text

    def read(answer: str) -> Any:
        if not answer.strip():
            if must:
                raise click.UsageError("this one is needed")
            return ""
        try:
            return question.read(answer)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    return click.prompt(text, default=proposed, show_default=bool(proposed), value_proc=read)


def _shown(value: object, tree: Tree) -> str:
    """A proposal as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(plain(value)).replace("<server_name>", str(tree.get("server_name", "")))


def _propose(tree: Tree, answers: Mapping[str, Any]) -> None:
    """Take what the cluster tells where no flag says something else."""
    for question in QUESTIONS:
        value = answers.get(question.key)
        if value not in (None, question.option.default) and got(tree, question.key) is None:
            put(tree, question.key, value)


def _seen(context: str | None) -> "Surroundings":
    from app.inspection.prerequisites import RESOURCES, state_of
    from app.inspection.surroundings import ALSO_READ, surroundings
    from app.kubectl import Kubectl

    kubectl = Kubectl(context)
    with progress("reading the cluster"):
        version, found = kubectl.read("version"), kubectl.read("get", ",".join(RESOURCES), "--namespace", "default")
        defined = {o["metadata"]["name"] for o in found["items"] if o["kind"] == "CustomResourceDefinition"}
        for definition, words in ALSO_READ:
            if not definition or definition in defined:
                found["items"] += kubectl.readable(*words)
    return surroundings(state_of(version, found))


def _taken_over(sources: tuple[Path, ...]) -> "TakenOver":
    from app.moving_in import take_over

    return take_over(sources)


def _beside_the_platforms(taken: "TakenOver") -> "TakenOver":
    """Leave out what the platform sets itself, as the site is so far."""
    import yaml

    from app.moving_in import without_what_the_platform_sets
    from main_instance.synapse.configuration import OTHER_FILES, USE

    rendering = _compiled(site_text({**taken.tree, "homeserver": {**taken.tree.get("homeserver", {}), "extra": {}}}))
    path = next(files["homeserver.yaml"] for (_, name), files in rendering.config_maps.items() if name == "synapse-homeserver")
    config = yaml.safe_load(rendering.files[path])
    return without_what_the_platform_sets(taken, config | dict.fromkeys(OTHER_FILES), USE)


def _refuse_what_is_there(out: Path) -> None:
    if out.exists() or out.is_symlink():
        fail(f"{out} is there already, and is never replaced: give another name with --out, or move it away")


def _compiled(text: str) -> "Rendering":
    """What a text compiles to in the smallest size."""
    from app.compiler import render
    from overlays import profiles

    try:
        site = parse_site(text)
        with progress("compiling it"):
            return render(site, profiles()[0])
    except SettingsError as error:
        raise UserError(
            "\n".join([*(f"{problem}{flags_in(str(problem))}" for problem in error.problems), "nothing was written."])
        ) from None
    except OptionError as error:
        raise UserError(f"{error}{flags_in(str(error))}\nnothing was written.") from None


def _write(out: Path, text: str) -> None:
    """A file that is not there, whole or not at all."""
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _refuse_what_is_there(out)
    except OSError as error:
        out.unlink(missing_ok=True)
        fail(f"{out} cannot be written: {error.strerror}; choose another with --out")
