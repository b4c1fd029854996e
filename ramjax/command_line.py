"""What the command lines share: help, and the place of compiled programs."""

import os
import pathlib

from absl import flags


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
