"""Files that stand beside a component: scripts as they are, and configuration in a language of its own as Jinja templates."""

from functools import cache, partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def text(package: str, name: str) -> str:
    """A file of a component's package, which gives its own `__package__`."""
    return (files(package) / name).read_text()


def rendered(package: str, name: str, **values: Any) -> str:
    """The template `name` + `.j2` of a component's package. jinja2.UndefinedError for a value that it needs and is not given."""
    return _templates(package).get_template(f"{name}.j2").render(values)


@cache
def _templates(package: str) -> Environment:
    return Environment(
        loader=FunctionLoader(partial(text, package)), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
