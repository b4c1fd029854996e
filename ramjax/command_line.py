"""What the command lines share: help, the place of compiled programs, and errors as one sentence each."""

import os
import pathlib

from absl import flags

from ramjax.config import ConfigError
from ramjax.errors import RunError, is_disk_full, sentence
from ramjax.io.errors import ReleaseError
from ramjax.io.radiograph import ImageError


def wants_help(argv: list[str]) -> bool:
    """Whether a command line (program name first) asks for help."""
    return bool({"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(argv[1:]))


def help_text(about: str, values: flags.FlagValues) -> str:
    """What --help prints: a module's docstring and its flags, without absl's own and the modules they are from."""
    groups = [values.module_help(name) for name in values.flags_by_module_dict() if name != flags.__name__]
    listed = "\n".join(group.partition(":\n")[2] for group in groups)
    return f"{about.strip()}\n\nFlags:\n{listed}"


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs in ~/.cache/ramjax/jax, unless JAX_COMPILATION_CACHE_DIR names another folder."""
    import jax  # takes a second, which a wrong flag should not

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path("~/.cache/ramjax/jax").expanduser()))


def explain(error: BaseException) -> str:
    """A failed run as one sentence for people: what is wrong, where, and the remedy."""
    if isinstance(error, ConfigError | RunError | ReleaseError | ImageError):
        return str(error)
    if isinstance(error, OSError) and error.errno is None:  # whoever raised it composed a sentence
        return sentence(error)
    where = getattr(error, "filename", None)
    if is_disk_full(error):
        of = f" of {where}" if where else ""
        return f"The disk{of} is full; make room and start the same command again."
    if isinstance(error, OSError) and where:
        reason = (error.strerror or type(error).__name__).lower()
        return f"{where} cannot be written or read: {reason}; mend that, or name another folder."
    return f"{type(error).__name__}: {sentence(error)} --debug shows where."
