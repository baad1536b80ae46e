#!/usr/bin/env bash
# Tests and benchmarks of everything that needs a GPU, what is worth most first: `make gpu-check`.
# Needs PyTorch, Triton, pytest and pytest-xdist, and none of ours installed.
# Results go to the folder $OUT as they come. All that is begun ends within $LIMIT seconds (570); $PARTS
# names some of the parts, as on a slow machine not all come to their turn. $CLIP is a 1920x1080 video
# for the whole programs, which need PyAV, as "slots" does; without one it is made, which needs
# scikit-image. The status is 1 if a part was red, took too long or had no time left.
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
LIMIT=${LIMIT:-570}
red=0

# Of at most so many seconds; at their end pytest still says what it has.
run() {
    local left=$((LIMIT - SECONDS))
    if [ "$left" -lt 10 ]; then
        echo "no time left: ${*:3}" | tee -a "$OUT/$2"
        red=1
        return
    fi
    timeout -s INT -k 5 $(($1 < left ? $1 : left)) "$python" "${@:3}" 2>&1 | tee -a "$OUT/$2" || red=1
}

networks() {
    run 190 benchmarks.txt kernels/benchmarks/networks.py --out "$results" --profiles "$OUT" \
        --runs 12 --sizes 1920x1080 3840x2160 1280x720 640x360 --compile
}

# Most of a test is compiling kernels, each by one core. What needs no GPU `make test` runs.
tests() {
    run 190 tests.txt -m pytest -v -n "$(nproc)" --dist worksteal -p no:cacheprovider \
        --durations 10 --ignore tests/kernels/test_compiled.py tests/kernels
}

compiled() {
    run 240 benchmarks.txt kernels/benchmarks/networks.py --out "$results" \
        --runs 12 --sizes --compile 1920x1080
}

programs() {
    if [ -z "${CLIP:-}" ]; then
        CLIP=$work/rain.mp4
        run 60 benchmarks.txt -m sapnet_training.rain "$CLIP" --size 1920x1080 --seconds 4
    fi
    run 90 benchmarks.txt kernels/benchmarks/programs.py "$CLIP" --out "$results"
    run 90 benchmarks.txt kernels/benchmarks/programs.py "$CLIP" --out "$results" --hwaccel cuda
}

# They time transfers, so nothing runs beside them.
slots() {
    run 120 tests.txt -m pytest -v -s -p no:cacheprovider \
        tests/stream/test_slots_cuda.py tests/stream/test_hardware.py
}

ops() {
    run 110 benchmarks.txt kernels/benchmarks/ops.py --out "$results" --runs 25
}

pictures() {
    run 20 benchmarks.txt kernels/benchmarks/pictures.py "$results" "$OUT"
}

for part in ${PARTS:-networks tests compiled programs slots ops pictures}; do
    began=$SECONDS
    "$part" || red=1
    echo "$part: $((SECONDS - began)) s" | tee -a "$OUT/benchmarks.txt"
done
exit $red
