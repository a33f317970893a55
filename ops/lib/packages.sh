# Debian 12 packages of Inkling, and how to install those that are missing. Sourced by the scripts of ops/.

# Programs and libraries that the build needs.
BUILD_PACKAGES="build-essential cmake ninja-build pkg-config libzmq3-dev libczmq-dev libmsgpack-dev libhiredis-dev
libmicrohttpd-dev libvips-dev libdnnl-dev libjpeg62-turbo-dev libssl-dev libjansson-dev
libopenblas-dev liblapacke-dev libnlopt-dev libgloo-dev
libprotobuf-c-dev protobuf-c-compiler libonnx-dev"
# Programs that the stack runs.
RUN_PACKAGES="redis-server"
# What the tests need on top.
TEST_PACKAGES="$RUN_PACKAGES libcmocka-dev python3-zmq python3-msgpack python3-pip slurmctld slurmd slurm-client munge
iproute2 faketime"
# What the static checks need on top.
LINT_PACKAGES="clang-14 clang-format-14 clang-tidy-14 shellcheck git"

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "these packages are missing, and neither root nor sudo is at hand: ${missing[*]}" >&2
            echo "install them with apt-get, then run this again" >&2
            return 1
        }
        sudo=(sudo)
    fi
    echo "== installing: ${missing[*]}"
    # No service may start by itself: the tests start a Redis of their own.
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
}
