"""Measures what more hands, pixels, channels and devices cost, against a straight line, as a picture.

    python -m benchmarks.scaling [--config=experiments/multitask.py] [--hands=100,1000,10000] [--sides=0.25,0.5,0.75,1]
                                 [--channels=0.5,1,2,3] [--devices=1,2,4,8] [--repeats=5] [--data_dir=data]
                                 [--picture=benchmarks/scaling.png] [--json]

- hands: one epoch of so many hands, read, decoded, augmented and batched in threads of one process, in a fresh process
  each; seconds, and resident memory at the end. The hands are those of ram_phantom/tiny over and over, on a canvas of
  128 x 96, so that an epoch of 10,000 takes a minute: what is measured is how cost grows, not what a hand costs.
- pixels: a training step of one example, the canvas's sides so many times the native 1700 x 1300, rounded to whole
  strides of the network; memory is XLA's (`memory_analysis`: state, batch and all that is kept in between).
- channels: a training step of the config, all widths of the network so many times as large, rounded to multiples of 8.
  Products grow with the square of the width, element-wise work with the width.
- devices: a training step of a batch of 8 on the config's canvas, split over so many fake devices of this CPU
  (XLA_FLAGS), each number in a process of its own. They share the CPU's cores, so that the time of a batch should stay
  what it is, and only the memory a device should fall.

Steps are medians of --repeats, each after one that does not count. An empty list leaves a part out. The picture shows
each against what is ideal, drawn from the first point: in proportion, or flat. With --json the last line is one JSON
object: for each of `hands`, `pixels`, `channels` and `devices` the sizes under that name, `_seconds`, `_gb` (a device),
and `_seconds_power` and `_gb_power`, the power of the size that fits best (1 is a straight line, 0 flat); and the
machine.
"""

import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks import common, synthetic
from ramjax import command_line
from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.data import pipeline, source
from ramjax.tasks import labels_of, make_tasks

NATIVE = (1700, 1300)
HANDS_CANVAS = (128, 96)
DEVICES_BATCH = 8

Point = dict[str, float]
"""`seconds` and `gb` at one size."""


@dataclasses.dataclass(frozen=True)
class Part:
    """How a part of the measurement is drawn.

    Attributes:
      title: above its panels.
      label: of the size.
      work: what the seconds are of.
      seconds, gb: the powers of the size that cost is in proportion to, where it is ideal.
      note: what else the reader should know.
    """

    title: str
    label: str
    work: str
    seconds: float
    gb: float
    note: str = ""


PARTS = {
    "hands": Part("Hands", "hands of the training split", "an epoch, read and batched", 1, 0),
    "pixels": Part("Image side", "megapixels of the canvas", "a training step, batch 1", 1, 1),
    "channels": Part(
        "Channels", "network widths, times the config's", "a training step", 1, 1, "products grow with the square"
    ),
    "devices": Part("Fake devices", "devices", "a training step, batch 8", 0, -1, "they share this CPU's cores"),
}


@dataclasses.dataclass(frozen=True)
class Repeated:
    """The examples of a source over and over, as if there were `size` of them."""

    examples: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return self.examples[index % len(self.examples)]


def of_hands(config: Config, hands: int) -> Point:
    """One epoch of `hands` hands; in a fresh process."""
    height, width = HANDS_CANVAS
    canvas = dataclasses.replace(config.data.canvas, height=height, width=width)
    data = dataclasses.replace(config.data, datasets=("ram_phantom/tiny",), weights=(1.0,), workers=0, canvas=canvas)
    tiny = source.open_source(data.datasets[0], data.data_dir, "train")
    many = dataclasses.replace(tiny, examples=Repeated(tiny.examples, hands))
    steps = -(-hands // data.batch_size)
    began = time.perf_counter()
    for batch in pipeline.make_train_batches(
        data, [many], seed=0, start_step=0, steps=steps, labels=labels_of(make_tasks(config))
    ):
        assert len(batch["image"]) == data.batch_size
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "gb": common.resident_gb(os.getpid())}


def of_step(config: Config, repeats: int) -> Point:
    """A training step: median seconds, and memory a device as XLA plans it."""
    ready = synthetic.train_step(config)
    memory = ready.compiled.memory_analysis()
    seconds = common.take_turns({"step": synthetic.caller(ready)}, repeats)["step"]
    return {"seconds": seconds, "gb": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e9}


def with_canvas(config: Config, side: float) -> Config:
    """The config with one example on a canvas of the native size, times `side`, in whole strides."""
    stride = config.model.max_stride
    height, width = (max(round(side * native / stride), 1) * stride for native in NATIVE)
    canvas = dataclasses.replace(config.data.canvas, height=height, width=width)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=1, crops=1, canvas=canvas))


def with_channels(config: Config, factor: float) -> Config:
    """The config with all widths of the network `factor` times as large, rounded to multiples of 8."""

    def times(width: int) -> int:
        return max(round(width * factor / 8), 1) * 8

    model = config.model
    model = dataclasses.replace(model, widths=tuple(map(times, model.widths)), decoder_width=times(model.decoder_width))
    scores = dataclasses.replace(config.scores, width=times(config.scores.width))
    return dataclasses.replace(config, model=model, scores=scores)


def with_devices(config: Config, devices: int) -> Config:
    """The config with a batch of 8 split over so many devices."""
    data = dataclasses.replace(config.data, batch_size=DEVICES_BATCH, eval_batch_size=DEVICES_BATCH, crops=1)
    return dataclasses.replace(config, data=data, mesh=dataclasses.replace(config.mesh, data=devices))


def measure(
    config: Config,
    hands: Sequence[int],
    sides: Sequence[float],
    channels: Sequence[float],
    devices: Sequence[int],
    repeats: int,
) -> dict[str, Any]:
    """Returns all numbers of the module's docstring."""
    canvases = [with_canvas(config, side) for side in sides]
    pixels = [of.data.canvas.height * of.data.canvas.width / 1e6 for of in canvases]
    if hands:
        source.prepare("ram_phantom/tiny", config.data.data_dir)
    calls: dict[str, list[tuple[float, Callable[[], Point]]]] = {
        "hands": [(size, _apart(of_hands, config, size)) for size in hands],
        "pixels": [(size, _apart(of_step, of, repeats)) for size, of in zip(pixels, canvases, strict=True)],
        "channels": [(size, _apart(of_step, with_channels(config, size), repeats)) for size in channels],
        "devices": [(size, _apart(of_step, with_devices(config, size), repeats, devices=size)) for size in devices],
    }
    numbers: dict[str, Any] = {}
    for name, of_part in calls.items():
        bar = tqdm(of_part, desc=PARTS[name].title, unit="size", leave=False, disable=None)
        points = [call() for _, call in bar]
        if not points:
            continue
        numbers[name] = [size for size, _ in of_part]
        for what in ("seconds", "gb"):
            values = [point[what] for point in points]
            numbers[f"{name}_{what}"] = values
            if len(points) > 1:
                power = np.polyfit(np.log(numbers[name]), np.log(values), 1)[0]
                numbers[f"{name}_{what}_power"] = float(power)
    return {**numbers, **common.machine()}


def show(numbers: dict[str, Any]) -> str:
    """The numbers as a table."""
    lines = [f"{'':10}{'size':>10}{'seconds':>10}{'GB':>10}"]
    for name in filter(numbers.get, PARTS):
        for row in zip(*(numbers[key] for key in (name, f"{name}_seconds", f"{name}_gb")), strict=True):
            lines.append(f"{name:10}" + "".join(f"{value:>10.4g}" for value in row))
        if f"{name}_seconds_power" in numbers:
            powers = [numbers[f"{name}_{what}_power"] for what in ("seconds", "gb")]
            lines.append(f"{'':10}{'power':>10}" + "".join(f"{power:>10.2f}" for power in powers))
    return "\n".join(lines)


def draw(numbers: dict[str, Any], path: pathlib.Path) -> None:
    """Writes the picture: a column a part, time above and memory below, measured and ideal."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    parts = [name for name in PARTS if name in numbers]
    figure = Figure(figsize=(3.5 * len(parts), 6.4), layout="constrained")
    grid = figure.subplots(2, len(parts), squeeze=False)
    for column, name in zip(grid.T, parts, strict=True):
        part, sizes = PARTS[name], np.array(numbers[name], float)
        for axes, what, power in zip(column, ("seconds", "gb"), (part.seconds, part.gb), strict=True):
            values = np.array(numbers[f"{name}_{what}"])
            axes.plot(sizes, values[0] * (sizes / sizes[0]) ** power, "--", color="0.55", label=_ideal(power))
            if name == "channels" and what == "seconds":
                axes.plot(sizes, values[0] * (sizes / sizes[0]) ** 2, ":", color="0.55", label="its square")
            axes.plot(sizes, values, "o-", color="C0", label="measured")
            axes.set_xscale("log")
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            margin = max(np.sqrt(10 * low / high), 1.2)  # what is flat should look it: a factor of 10 and more is shown
            axes.set_ylim(low / margin, high * margin)
            axes.set_xticks(sizes, [f"{size:,.3g}" if size < 1000 else f"{size:,.0f}" for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.grid(alpha=0.3)
            axes.set_xlabel(part.label)
            axes.legend(fontsize=8, loc="best")
        column[0].set_title(f"{part.title}\n{part.note}" if part.note else part.title, fontsize=11)
        column[0].set_ylabel(f"seconds: {part.work}")
        column[1].set_ylabel("GB resident" if name == "hands" else "GB a device")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _ideal(power: float) -> str:
    return {0: "flat", 1: "in proportion", -1: "in inverse proportion"}[power]


def _apart(function: Callable[..., Point], *arguments: Any, devices: int = 1) -> Callable[[], Point]:
    return lambda: common.apart(function, *arguments, start=_start, start_arguments=(devices,))


def _start(devices: int) -> None:
    """Before JAX looks for its devices."""
    if devices > 1:
        fake = f"--xla_force_host_platform_device_count={devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fake}".strip()
        os.environ["JAX_PLATFORMS"] = "cpu"
    command_line.set_up_jax()


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        common.define_config(values, argv)
        for name, default, about in (
            ("hands", "100,1000,10000", "Hands of an epoch."),
            ("sides", "0.25,0.5,0.75,1", "Sides of the canvas, times native."),
            ("channels", "0.5,1,2,3", "Widths of the network, times the config's."),
            ("devices", "1,2,4,8", "Fake devices; they divide 8."),
        ):
            flags.DEFINE_list(name, default, about, flag_values=values)
        flags.DEFINE_integer("repeats", 5, "Steps, of which the median counts.", 1, flag_values=values)
        command_line.define_path("data_dir", "data", "Folder of prepared data sets.", flag_values=values)
        command_line.define_path(
            "picture", "benchmarks/scaling.png", "Where the picture is written.", flag_values=values
        )

    def run(values):
        config = config_lib.from_config_dict(values.config)
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=values.data_dir))
        numbers = measure(
            config,
            [int(size) for size in values.hands],
            [float(size) for size in values.sides],
            [float(size) for size in values.channels],
            [int(size) for size in values.devices],
            values.repeats,
        )
        draw(numbers, pathlib.Path(values.picture))
        return numbers

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
