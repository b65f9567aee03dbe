# Sourced by demo, check and test: makes .venv with the tested versions and puts it on PATH.
# make_environment EXTRA   where EXTRA is "", "[docs]" or "[test]"; it installs only after a change of
# versions.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { # MESSAGE FIX EXIT_CODE
    printf 'Error: %s\nFix: %s\n' "$1" "$2" >&2
    exit "$3"
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer was found." "install one, or set PYTHON=/path/to/python3." 3
}

make_environment() {
    local python versions
    python=$(find_python)
    versions=$(cat pyproject.toml scripts/constraints.txt)
    # what the tests need includes what the demo and the documentation need
    if [ "$versions" != "$(cat ".venv/installed$1" 2>/dev/null)" ] &&
        [ "$versions" != "$(cat ".venv/installed[test]" 2>/dev/null)" ]; then
        echo "Installing the tested versions into .venv (a few minutes the first time) ..." >&2
        "$python" -m venv .venv ||
            fail "Python can't make a virtual environment." "on Debian: apt-get install python3-venv" 3
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --constraint scripts/constraints.txt --editable ".$1"
        # these require torchvision, which the tests do without (tests/fake_torchvision.py)
        [ "$1" != "[test]" ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --constraint scripts/constraints.txt --no-deps timm vit-pytorch hyper-connections
        echo "$versions" >".venv/installed$1"
    fi
    PATH="$PWD/.venv/bin:$PATH"
}
