"""What decoders say beside their result: warnings are heard, and nothing reaches the terminal."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

from ramjax.io.radiograph import ImageError, damaged

_HARMLESS = ("coercing", "ASCII")
"""Words in warnings about texts, such as a writer's name in Latin-1, which show nothing of the picture."""


class _Listener(logging.Handler):
    """Keeps the warnings of each thread that is listening."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        heard = getattr(self.local, "heard", None)
        message = record.getMessage()
        if heard is not None and not any(word in message for word in _HARMLESS):
            heard.append(message)


_LISTENER = _Listener()
for _name in ("tifffile", "imagecodecs"):
    logging.getLogger(_name).addHandler(_LISTENER)
    logging.getLogger(_name).propagate = False


@contextlib.contextmanager
def decoding(name: str) -> Iterator[list[str]]:
    """Yields a list that receives the warnings of tifffile and imagecodecs; whatever they raise is an ImageError."""
    _LISTENER.local.heard = heard = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield heard
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is; export it at a lower resolution.") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes.
        raise damaged(name, f"{type(error).__name__} while decoding") from error
    finally:
        _LISTENER.local.heard = None
