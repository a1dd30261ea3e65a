"""YAML with line numbers: text in, a validated pydantic model out, or file, line and reason."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from firstread.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


def load(text: str, model: type[Model], *, name: str) -> Model:
    """Parse and validate.

    Parameters
    ----------
    text
        A YAML document (safe subset: no tags that make objects).
    model
        The pydantic model of the document.
    name
        What to call the document in an error, usually the file's name.

    Raises
    ------
    ConfigurationError
        ``configuration``: with name, line and reason of the first fault.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or "not YAML"
        raise ConfigurationError(f"{name}, line {line}: {reason}") from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "document"
        line = _line_of(root, first["loc"])
        raise ConfigurationError(f"{name}, line {line}: {where}: {first['msg']}") from error


def load_file(path: Path, model: type[Model]) -> Model:
    """Read and validate one file; see :func:`load`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: cannot be read ({error.__class__.__name__})") from error
    return load(text, model, name=path.name)


def _line_of(node: yaml.Node | None, steps: tuple[int | str, ...]) -> int:
    """Line of the deepest node along ``steps`` that stands in the text (a missing key: its parent)."""
    if node is None:
        return 1
    for step in steps:
        child = None
        if isinstance(node, yaml.MappingNode):
            child = next((value for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            child = node.value[step]
        if child is None:
            break
        node = child
    return int(node.start_mark.line) + 1
