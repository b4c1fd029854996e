"""The frame of every command: flags and help, errors as one sentence each, exit codes, the place of programs."""

import math
import os
import pathlib
import resource
import sys
from collections.abc import Callable, Sequence

from absl import flags

from ramjax.config import Config
from ramjax.errors import RunError, explain, sentence
from ramjax.logs import logging_to, print_in_any_locale

Define = Callable[[flags.FlagValues], None]
"""Defines the flags of a command, each with ``flag_values=values``."""

Check = Callable[[flags.FlagValues], None]
"""Raises flags.Error where flags that parse contradict each other, or one is missing."""


def command(
    name: str,
    about: str,
    define: Define,
    act: Callable[[flags.FlagValues], int | None],
    *,
    check: Check = lambda values: None,
    interrupted: str = "Interrupted; nothing was written.",
    positional: str | None = None,
) -> Callable[[Sequence[str]], int]:
    """Returns ``main(argv)`` of a command, which returns the exit code.

    The codes are 0 for done, 1 for an error that the last line of stderr names, 2 for wrong usage, 130 for Ctrl-C. The
    flag ``--debug`` is every command's: it shows the traceback of an error.

    Args:
      name: as it is started, such as ``python -m ramjax.report``.
      about: its help, above the flags.
      define: of its flags.
      act: does the work, and may return another exit code than 0.
      check: of the flags, together.
      interrupted: said at Ctrl-C.
      positional: the flag that takes arguments without ``--``, a list; None refuses them.
    """

    def main(argv: Sequence[str]) -> int:
        try:
            values = parse(about, define, argv, check=check, positional=positional)
        except flags.Error as error:
            print(f"Usage error: {sentence(error)} See {name} --help.", file=sys.stderr)
            return 2
        if values is None:
            return 0
        try:
            with logging_to(None):
                return act(values) or 0
        except KeyboardInterrupt:
            print(interrupted, file=sys.stderr)
            return 130
        except Exception as error:
            print(f"Error: {explain(error)}", file=sys.stderr)
            if values.debug:
                raise
            return 1

    return main


def parse(
    about: str,
    define: Define,
    argv: Sequence[str],
    *,
    check: Check = lambda values: None,
    positional: str | None = None,
) -> flags.FlagValues | None:
    """Parses a command line (program name first) into flags of its own; None when it asked for help, which is printed.

    Raises:
      flags.Error: a flag is unknown, mistyped or missing, or a number is none.
    """
    print_in_any_locale()
    values = flags.FlagValues()
    define(values)
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.", flag_values=values)
    if wants_help(argv):
        print(help_text(about, values))
        return None
    extra = values(list(argv))[1:]
    if positional is not None:
        setattr(values, positional, [*values[positional].value, *extra])
    elif extra:
        raise flags.Error(f"{extra[0]!r} is not a flag; flags start with --.")
    for name in values:  # absl lets NaN pass any range
        if isinstance(values[name].value, float) and not math.isfinite(values[name].value):
            raise flags.Error(f"--{name} is {values[name].value}; it must be finite.")
    check(values)
    return values


def define_path(
    name: str, default: str | None, about: str, *, flag_values: flags.FlagValues, several: bool = False
) -> None:
    """Defines a flag that takes a path (see `path_of`), or, where it may be repeated, `several` of them."""
    parser, serializer = _PathParser(name), flags.ArgumentSerializer()
    if several:
        flags.DEFINE_multi(parser, serializer, name, [], about, flag_values)
    else:
        flags.DEFINE(parser, name, default, about, flag_values, serializer)


def path_of(name: str, text: str) -> str:
    """A path that is given to the flag `name`, ``~`` replaced by the home folder.

    Raises:
      flags.Error: it is empty, as that of a variable that is not set.
    """
    if not text.strip():
        raise flags.Error(f"--{name} is missing.")
    return os.path.expanduser(text)


def with_path(name: str, argv: Sequence[str]) -> list[str]:
    """A command line in which the path of the flag `name` went through `path_of`, for a flag of another library."""
    begin = f"--{name}="
    return [begin + path_of(name, word.removeprefix(begin)) if word.startswith(begin) else word for word in argv]


class _PathParser(flags.ArgumentParser):
    """Takes what is given to the flag `name`."""

    def __init__(self, name: str):
        self._name = name

    def parse(self, argument: str) -> str:
        return path_of(self._name, super().parse(argument))


def needs(values: flags.FlagValues, *names: str) -> None:
    """Raises flags.Error for the first of these flags that is missing or empty."""
    for name in names:
        value = values[name].value
        if value in (None, []) or (isinstance(value, str) and not value.strip()):
            raise flags.Error(f"--{name} is missing.")


def wants_help(argv: Sequence[str]) -> bool:
    """Whether a command line (program name first) asks for help."""
    return bool({"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(argv[1:]))


def help_text(about: str, values: flags.FlagValues) -> str:
    """What --help prints: a module's docstring and its flags, without absl's own and the modules they are from."""
    groups = [values.module_help(name) for name in values.flags_by_module_dict() if name != flags.__name__]
    listed = "\n".join(group.partition(":\n")[2] for group in groups)
    return f"{about.strip()}\n\nFlags:\n{listed}"


ADDRESS_SPACE = 3.3e9
"""Bytes of address space that training the smallest network takes on a CPU, measured as VmPeak of experiments/debug.py:
2.5 GB for JAX's threads and libraries, the rest for its compiler. With less, LLVM aborts or JAX hangs."""

ADDRESS_SPACE_A_PIXEL = 2000
"""Bytes more for each pixel of a batch, where the first level has 32 channels; measured on experiments/multitask.py."""


def check_memory(config: Config | None = None) -> None:
    """Checks that the limit of this process (``ulimit -v``) leaves JAX the address space that it needs.

    Call it before JAX is imported, which may abort or hang otherwise; and once more with the `config` of a training.

    Raises:
      RunError: it does not.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    need, remedy = ADDRESS_SPACE, "raise the limit"
    if config is not None:
        data, parts = config.data, config.train.accumulation_steps
        pixels = data.batch_size / parts * data.canvas.height * data.canvas.width
        need += ADDRESS_SPACE_A_PIXEL * pixels * config.model.pyramid.widths[0] / 32
        remedy += (
            f", or lower data.batch_size (now {data.batch_size}) or data.canvas (now {data.canvas.height} x "
            f"{data.canvas.width}), or raise train.accumulation_steps (now {parts})"
        )
    if limit != resource.RLIM_INFINITY and limit < need:
        raise RunError(
            f"The limit of memory of this process (ulimit -v) is {limit / 1e9:.1f} GB, and JAX needs about "
            f"{need / 1e9:.1f} GB of address space; {remedy}."
        )


def set_up_jax() -> None:
    """Sets JAX up for a command: numbers of single precision, whatever JAX_ENABLE_X64 says; `keep_compiled_programs`.

    Raises:
      RunError: as `check_memory`.
    """
    check_memory()
    import jax  # takes a second, which a wrong flag should not

    jax.config.update("jax_enable_x64", False)
    keep_compiled_programs()


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs in ~/.cache/ramjax/jax, unless JAX_COMPILATION_CACHE_DIR names another folder."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path("~/.cache/ramjax/jax").expanduser()))
