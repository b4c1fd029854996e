"""What is read from an optimised program: a hand-written one whose bytes and FLOPs are counted by hand."""

import pytest

from benchmarks import hlo

HEAD = """HloModule jit_f

FileNames
1 "/there/ramjax/steps/train.py"
2 "/there/ramjax/models/linear_call.py"
3 "/there/ramjax/models/normalization.py"

FunctionNames
1 "step"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1}
2 {file_name_id=2 function_name_id=1 line=2}
3 {file_name_id=3 function_name_id=1 line=3}

StackFrames
%s

"""

FRAMES = {
    "numbers from one": (
        "1 {file_location_id=1 parent_frame_id=1}",
        "2 {file_location_id=3 parent_frame_id=2}",
        "3 {file_location_id=2 parent_frame_id=3}",
    ),
    "plain numbers": (
        "1 {file_location_id=1}",
        "2 {file_location_id=3 parent_frame_id=1}",
        "3 {file_location_id=2 parent_frame_id=2}",
    ),
}
"""The same stack, as two versions of XLA write it: `linear_call` in the normalisation in the step."""

PROGRAM = """
%fused (p: f32[4]) -> f32[4] {
  %big.1 = f32[999,999]{1,0} broadcast(%p)
}

ENTRY %main (Arg_0: bf16[2,3], Arg_1: f32[8]) -> (f32[8], pred[]) {
  %Arg_0 = bf16[2,3]{1,0} parameter(0)
  %Arg_1 = f32[8]{0} parameter(1)
  %x = bf16[2,6,4,3]{3,2,1,0} parameter(2)
  %kernel = bf16[5,3,3,3]{3,2,1,0} parameter(3)
  %matrix = bf16[3,7]{1,0} parameter(4)
  %bitcast.1 = bf16[6]{0} bitcast(%Arg_0)
  %loop_fusion = (f32[8]{0}, u32[2,2]{1,0:T(8)}) fusion(%bitcast.1, %Arg_1), metadata={op_name="jit(f)/add" stack_frame_id=3}
  %part = f32[8]{0} get-tuple-element(%loop_fusion), index=0
  %copy = f32[8]{0} copy(%part)
  %conv.1 = (bf16[2,6,4,5]{3,2,1,0}, u8[9]{0}) custom-call(%x, %kernel), custom_call_target="__cudnn$convForward"
  %y = bf16[2,6,4,5]{3,2,1,0} get-tuple-element(%conv.1), index=0
  %conv.2 = (bf16[2,6,4,3]{3,2,1,0}, u8[9]{0}) custom-call(%y, %kernel), custom_call_target="__cudnn$convBackwardInput"
  %conv.3 = (bf16[5,3,3,3]{3,2,1,0}, u8[9]{0}) custom-call(%x, %y), custom_call_target="__cudnn$convBackwardFilter"
  %dot = (bf16[2,7]{1,0}, s8[99]{0}) custom-call(%Arg_0, %matrix), custom_call_target="__cublas$lt$matmul", backend_config={"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}
  ROOT %tuple = (f32[8]{0}, pred[]) tuple(%part, %part)
}
"""  # noqa: E501


def program(numbers):
    return HEAD % "\n".join(FRAMES[numbers]) + PROGRAM


def test_bytes_are_those_of_operands_and_results():
    fusion, copy, *_ = hlo.kernels(program("plain numbers"))
    assert fusion.bytes == (32 + 16) + 12 + 32 and not fusion.product and fusion.source == "jit(f)/add"
    assert fusion.arrays == (("f32", (8,)), ("u32", (2, 2)))
    assert copy.bytes == 32 + 32 and copy.kind == hlo.OTHERS
    assert hlo.bytes_of("(f32[8]{0}, u32[2,2]{1,0:T(8)})") == 48


def test_flops_are_two_for_each_product_and_a_workspace_is_not_moved():
    *_, forward, of_input, of_kernel, product = hlo.kernels(PROGRAM)
    x, y, kernel = 2 * 6 * 4 * 3, 2 * 6 * 4 * 5, 5 * 3 * 3 * 3
    for convolution in (forward, of_input, of_kernel):
        assert convolution.product and convolution.flops == 2 * y * 3 * 3 * 3
        assert convolution.bytes == 2 * (x + y + kernel)
    assert product.kind == "matrix product" and product.flops == 2 * 2 * 7 * 3
    assert product.bytes == 2 * (2 * 3 + 3 * 7 + 2 * 7)


@pytest.mark.parametrize("numbers", FRAMES)
def test_a_kernel_is_of_the_innermost_file_that_is_known(numbers):
    fusion, *_ = hlo.kernels(program(numbers))
    assert fusion.kind == "normalisation and ReLU"
