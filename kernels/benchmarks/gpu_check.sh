#!/usr/bin/env bash
# Tests, then benchmarks of everything that needs a GPU, in under ten minutes: `make gpu-check`.
# Needs PyTorch, Triton and pytest, and none of ours installed. Results go to the folder $OUT. $CLIP
# is a 1920x1080 video for the whole programs, which need PyAV; without one it is made, which needs
# scikit-image. Every part runs; the status is 1 if one was red or took too long.
set -uo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
OUT=${OUT:-gpu-check}
mkdir -p "$OUT"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$PWD:$PWD/kernels:$PWD/training${PYTHONPATH:+:$PYTHONPATH}"
export FAIL_WITHOUT_CUDA=1 PYTHONUNBUFFERED=1
results=$OUT/results.csv
red=0

# Most of a test is compiling kernels, each by one core.
export python work
printf '%s\n' tests/kernels/test_*.py | timeout 140 xargs -P 12 -I{} sh -c \
    '"$python" -m pytest -q -p no:cacheprovider {} > "$work/$(basename {}).txt" 2>&1' || red=1
tail -n +1 "$work"/test_*.txt > "$OUT/tests.txt"
tail -qn 1 "$work"/test_*.txt

part() {
    timeout "$1" "$python" "${@:2}" 2>&1 | tee -a "$OUT/benchmarks.txt" || red=1
}
part 140 kernels/benchmarks/ops.py --out "$results"
part 160 kernels/benchmarks/networks.py --out "$results" --profiles "$OUT"
if [ -z "${CLIP:-}" ]; then
    CLIP=$work/rain.mp4
    part 60 -m sapnet_training.rain "$CLIP" --size 1920x1080 --seconds 4
fi
part 70 kernels/benchmarks/programs.py "$CLIP" --out "$results"
part 20 kernels/benchmarks/pictures.py "$results" "$OUT"
exit $red
