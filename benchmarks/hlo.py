"""What the kernels of an optimised HLO module move and compute, and what part of a training step they belong to.

Bytes are those of each operand and each result, once; the workspace of a library is not counted. FLOPs are those of
convolutions and matrix products, two for a multiplication and its addition. A kernel belongs to the part of the code
that its operation, or the last one of a fusion, was traced in.
"""

import dataclasses
import math
import re

KIND_BY_TARGET = {
    "convolution, forward": "__cudnn$convForward",
    "convolution, gradient of the input": "__cudnn$convBackwardInput",
    "convolution, gradient of the kernel": "__cudnn$convBackwardFilter",
    "matrix product": "__cublas$",
}
"""Kernels of libraries, by a part of their target."""

KIND_BY_FILE = {
    "normalisation and ReLU": ("models/normalization.py",),
    "losses": ("tasks/bones/sums.py", *(f"tasks/{task}/learning.py" for task in ("bones", "erosions", "joints"))),
    "scores": ("tasks/scores/heads.py", "tasks/scores/learning.py", "models/roi_align.py"),
    "logits of dense heads": ("tasks/dense.py",),
    "upsampling, skips, local contrast": (
        "models/decoders/additive.py",
        "models/encoders/residual.py",
        "models/layers.py",
    ),
    "convolution, layouts": ("models/convolution.py",),
    "optimiser and averages": ("steps/optimizer.py", "steps/train.py"),
}
"""Other kernels, by the file that is innermost in the stack of their operation."""

OTHERS = "all else"

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_FREE = ("parameter", "bitcast", "tuple", "get-tuple-element", "constant")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?(%[\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_FRAME = re.compile(r"(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?")

_Arrays = tuple[tuple[str, tuple[int, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An instruction of the optimised program that is run on the device.

    Attributes:
      name: of the instruction.
      bytes: that it reads and writes, each operand once.
      flops: of a convolution or matrix product; 0 of others.
      kind: one of `KIND_BY_TARGET`, `KIND_BY_FILE` or `OTHERS`.
      arrays: dtype and shape of each array that it writes.
      source: the JAX operation it stems from; '' unknown.
    """

    name: str
    bytes: int
    flops: int
    kind: str
    arrays: _Arrays
    source: str

    @property
    def product(self) -> bool:
        """Whether a library computes it, as convolutions and matrix products."""
        return self.kind in KIND_BY_TARGET


def kernels(hlo: str) -> list[Kernel]:
    """The kernels of an optimised HLO module as text, in order; those inside a loop are not listed."""
    stacks = _Stacks(hlo)
    entry = hlo[hlo.index("\nENTRY") :]
    arrays: dict[str, _Arrays] = {}
    found = []
    for line in entry.splitlines():
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        name, kind, opcode, rest = match.groups()
        arrays[name] = _arrays(kind)
        if opcode in _FREE:
            continue
        targets = KIND_BY_TARGET.items()
        library = next((kind for kind, target in targets if f'custom_call_target="{target}' in line), None)
        if library:
            arrays[name] = arrays[name][:1]  # the second one is its workspace
        operands = [arrays.get(operand, ()) for operand in re.findall(r"%[\w.\-]+", rest.partition("), ")[0])]
        source = re.search(r'op_name="([^"]*)"', line)
        found.append(
            Kernel(
                name,
                sum(map(_bytes, (arrays[name], *operands))),
                _flops(library, arrays[name], operands, line) if library else 0,
                library or stacks.kind(line),
                arrays[name],
                source[1] if source else "",
            )
        )
    return found


class _Stacks:
    """Where operations were traced, as the tables at the head of a module tell."""

    def __init__(self, hlo: str):
        files = dict(re.findall(r'(\d+) "(.*)"', _table(hlo, "FileNames")))
        places = dict(re.findall(r"(\d+) \{file_name_id=(\d+)", _table(hlo, "FileLocations")))
        frames = {int(number): rest for number, *rest in _FRAME.findall(_table(hlo, "StackFrames"))}
        # The first frame has no parent; what is written there, 1 or nothing, is what XLA adds to a parent's number.
        shift = int(frames[1][1] or 0) if frames else 0
        self.files = {number: files.get(places.get(place), "") for number, (place, _) in frames.items()}
        self.parents = {number: int(parent or 0) - shift for number, (_, parent) in frames.items()}

    def kind(self, line: str) -> str:
        """The kind of the kernel that a line of the program describes."""
        match = re.search(r"stack_frame_id=(\d+)", line)
        frame = int(match[1]) if match else 0
        while frame in self.files:
            for kind, ends in KIND_BY_FILE.items():
                if self.files[frame].endswith(ends):
                    return kind
            frame = self.parents[frame]
        return OTHERS


def _table(hlo: str, name: str) -> str:
    """A table at the head of a module, '' if there is none."""
    _, _, rest = hlo.partition(f"\n{name}\n")
    return rest.partition("\n\n")[0]


def _flops(library: str, results: _Arrays, operands: list[_Arrays], line: str) -> int:
    """Two for each product of a number of one operand with one of the other that is summed up."""
    (_, result), left, right = results[0], operands[0][0][1], operands[1][0][1]
    if library == "matrix product":
        contracted = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', line)[1]
        return 2 * math.prod(result) * math.prod(left[int(axis)] for axis in re.findall(r"\d+", contracted))
    # The operands and the result are, in some order, the input, the kernel and the output; a kernel is (o, k, k, i).
    output, kernel = {
        "convolution, forward": (result, right),
        "convolution, gradient of the input": (left, right),
        "convolution, gradient of the kernel": (right, result),
    }[library]
    return 2 * math.prod(output) * math.prod(kernel[1:])


def bytes_of(kind: str) -> int:
    """Bytes of the arrays of a type as HLO writes it, ``f32[2,3]{1,0}`` or a tuple of such."""
    return _bytes(_arrays(kind))


def _arrays(kind: str) -> _Arrays:
    return tuple(
        (dtype, tuple(int(side) for side in shape.split(",") if side))
        for dtype, shape in _ARRAY.findall(re.sub(r"\{[^}]*\}", "", kind))
        if dtype in _BYTES
    )


def _bytes(arrays: _Arrays) -> int:
    return sum(math.prod(shape) * _BYTES[dtype] for dtype, shape in arrays)
