#!/usr/bin/env bash
# The completion of bash, as `inkling completion bash` prints it, against a program that knows some names.
#   test_completion.sh PATH-OF-INKLING
set -euo pipefail
inkling=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/inkling" <<'STUB'
#!/usr/bin/env bash
echo "$@" >>"$0.calls"
case $2 in
datasets) printf '%s\n' faces figures other ;;
models) printf '%s\n' faces faces@1 faces@2 old ;;
jobs) printf '%s\n' 12 13 21 ;;
studies) printf '%s\n' mine other ;;
esac
STUB
chmod +x "$folder/inkling"

# shellcheck source=/dev/null
. <("$inkling" completion bash --home "$folder")

failed=0
expect() { # LINE WORDS…: pressing tab at the end of LINE offers exactly WORDS
    COMP_LINE=$1 COMP_POINT=${#1} COMP_CWORD=0
    read -ra COMP_WORDS <<<"$1"
    COMP_WORDS[0]=$folder/inkling
    shift
    COMPREPLY=()
    _inkling
    if [ "${COMPREPLY[*]-}" != "$*" ]; then
        echo "after '$COMP_LINE': offered '${COMPREPLY[*]-}', wanted '$*'" >&2
        failed=1
    fi
}

COMP_WORDBREAKS=$' \t\n"\'><=;|&(:@'
expect "inkling st" status study stack
expect "inkling dow" down
expect "inkling job c" cancel
expect "inkling study show m" mine
expect "inkling study compare m" mine
expect "inkling study compare mine other o" other
expect "inkling study show mine other o"
expect "inkling job show " 12 13 21
expect "inkling job show 1" 12 13
expect "inkling train f" faces figures
expect "inkling evaluate fa" faces faces@1 faces@2
expect "inkling evaluate faces@1 o" other
expect "inkling promote faces@" 1 2
expect "inkling train faces --epo" --epochs
expect "inkling train faces --epochs 3 --pre" --precision
expect "inkling train faces --precision " auto fp32 bf16
expect "inkling train faces --precision=b" bf16
expect "inkling predict --model old --split " train val test all
expect "inkling classify --model fac" faces faces@1 faces@2
expect "inkling export old --format " onnx
expect "inkling export fac" faces faces@1 faces@2
expect "inkling study export mine --format " csv json
expect "inkling classify a.jpg b" # files: bash's own part
expect "inkling ingest --detach --fit cr" crop
expect "inkling help mod" models model
expect "inkling completion " bash datasets models jobs studies stacks
expect "inkling completion d" datasets
expect "inkling stack " add list use rm
expect "inkling worker " trainer ingest tuner
expect "inkling compl" completion
expect "inkling help compl" completion
expect "inkling frobnicate "
expect "inkling --home /elsewhere job follow 2" 21
grep -qx "completion jobs --home /elsewhere" "$folder/inkling.calls" || {
    echo "--home did not reach the program that is asked for names" >&2
    failed=1
}
COMP_WORDBREAKS=$' \t\n'
expect "inkling promote faces@" faces@1 faces@2
expect "inkling train faces --precision=b" --precision=bf16
exit $failed
