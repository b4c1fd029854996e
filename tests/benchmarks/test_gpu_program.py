"""What is read from an optimised program: a hand-written one whose bytes are counted by hand."""

from benchmarks import gpu_program

HLO = """HloModule jit_f

%fused (p: f32[4]) -> f32[4] {
  %big.1 = f32[999,999]{1,0} broadcast(%p)
}

ENTRY %main (Arg_0: bf16[2,3], Arg_1: f32[8]) -> (f32[8], pred[]) {
  %Arg_0 = bf16[2,3]{1,0} parameter(0)
  %Arg_1 = f32[8]{0} parameter(1)
  %bitcast.1 = bf16[6]{0} bitcast(%Arg_0)
  %loop_fusion = (f32[8]{0}, u32[2,2]{1,0:T(8)}) fusion(%bitcast.1, %Arg_1), metadata={op_name="jit(f)/add"}
  %part = f32[8]{0} get-tuple-element(%loop_fusion), index=0
  %cudnn-conv.1 = (bf16[4]{0}, u8[0]{0}) custom-call(%part), custom_call_target="__cudnn$convForward"
  ROOT %tuple = (f32[8]{0}, pred[]) tuple(%part, %part)
}
"""


def test_bytes_are_those_of_operands_and_results():
    fusion, convolution = gpu_program.kernels(HLO)
    assert fusion.bytes == (32 + 16) + 12 + 32 and not fusion.product and fusion.source == "jit(f)/add"
    assert fusion.arrays == (("f32", (8,)), ("u32", (2, 2)))
    assert convolution.bytes == 8 + 32 and convolution.product


def test_without_the_plugin_it_says_what_to_install(capsys):
    if gpu_program.importlib.util.find_spec("jax_plugins") is None:
        assert gpu_program.main(["gpu_program", "--config=experiments/debug.py"]) == 1
        assert 'pip install "jax[cuda12]"' in capsys.readouterr().err
