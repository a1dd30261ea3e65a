"""YAML with line numbers: text in, a validated pydantic model out, or file, line and reason."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from firstread.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


class Fault(ValueError):
    """What a model's own check refuses, with the place of it.

    Parameters
    ----------
    steps
        Keys and indices from what the check belongs to down to what is wrong.
    """

    def __init__(self, reason: str, *steps: int | str) -> None:
        super().__init__(reason)
        self.steps = steps


class _Loader(yaml.SafeLoader):
    """The safe subset, in which every fault has a line."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that stands twice: the last one would silently win."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value} stands here a second time",
                        problem_mark=key.start_mark,
                    )
                seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the line of a value that looks like a date or number and is none (2024-13-45)."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, OverflowError) as error:
            raise yaml.MarkedYAMLError(
                problem=f"no such value: {node.value}", problem_mark=node.start_mark
            ) from error


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
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(f"{name}, line {line}: {error.reason}") from error
    try:
        root = loader.get_single_node()
        values = None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or "not YAML"
        raise ConfigurationError(f"{name}, line {line}: {reason}") from error
    except RecursionError as error:
        line = loader.get_mark().line + 1
        raise ConfigurationError(f"{name}, line {line}: nested too deeply") from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        steps, reason = _first_fault(error)
        where = ".".join(str(step) for step in steps) or "document"
        line = _line_of(root, steps)
        raise ConfigurationError(f"{name}, line {line}: {where}: {reason}") from error


def load_file(path: Path, model: type[Model]) -> Model:
    """Read and validate one file; see :func:`load`."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path.name}: cannot be read ({error.__class__.__name__})"
        ) from error
    return load(text, model, name=path.name)


def _first_fault(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Return where the first fault is and what it is; of a misspelt key, both halves."""
    faults = error.errors()
    first = faults[0]
    if first["type"] == "missing":
        *parent, missing = first["loc"]
        for other in faults:
            if other["type"] == "extra_forbidden" and [*other["loc"][:-1]] == parent:
                return other["loc"], f"no such key, and {missing} is missing"
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ValueError):
        # Its own words; pydantic puts some of its own before them.
        steps = cause.steps if isinstance(cause, Fault) else ()
        return (*first["loc"], *steps), str(cause)
    return first["loc"], first["msg"]


def _line_of(node: yaml.Node | None, steps: tuple[int | str, ...]) -> int:
    """Line of the deepest node along ``steps`` in the text (of a missing key: its parent's)."""
    if node is None:
        return 1
    for step in steps:
        child = None
        if isinstance(node, yaml.MappingNode):
            child = next((value for key, value in node.value if key.value == str(step)), None)
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value)
        ):
            child = node.value[step]
        if child is None:
            break
        node = child
    return int(node.start_mark.line) + 1
