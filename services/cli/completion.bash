# shellcheck shell=bash
# Bash completion of inkling. The tables of commands, options and their words stand before this part and come
# from the program itself: `inkling completion bash` prints both.
#
#   _inkling_words[GROUP]        words that may follow: "." at the beginning, "job" after job
#   _inkling_arguments[COMMAND]  what it takes: "MODEL[@V] DATASET[@V]"
#   _inkling_options[COMMAND]    its options
#   _inkling_flags[COMMAND]      those of them without a value
#   _inkling_choices["COMMAND --OPTION"]   the words that the option takes

# Names that the stack knows, for what an argument or option is called; none when it is away.
_inkling_names() { # WHAT [--home DIR …]
    local what=$1
    shift
    case $what in
    *DATASET* | --dataset) "${COMP_WORDS[0]}" completion datasets "$@" 2>/dev/null ;;
    *MODEL* | --model | --init) "${COMP_WORDS[0]}" completion models "$@" 2>/dev/null ;;
    STACK | --stack) "${COMP_WORDS[0]}" completion stacks "$@" 2>/dev/null ;;
    STUDY* | --warm-start) "${COMP_WORDS[0]}" completion studies "$@" 2>/dev/null ;;
    ID) "${COMP_WORDS[0]}" completion jobs "$@" 2>/dev/null ;;
    esac
}

_inkling_reply() { # CURRENT WORDS…
    local current=$1 breaks="" head word
    shift
    # Bash replaces only what stands behind the last of its word breaks.
    for word in = @; do
        if [[ ${COMP_WORDBREAKS-} == *$word* ]]; then breaks+=$word; fi
    done
    head=${current%"${current##*["${breaks:-/}"]}"}
    COMPREPLY=()
    for word in "$@"; do
        if [[ $word == "$current"* ]]; then COMPREPLY+=("${word#"$head"}"); fi
    done
}

_inkling() {
    local line=${COMP_LINE:0:COMP_POINT} current previous="" verb="" count=0 skip="" word option
    local -a words=() place=() known=() wanted=()
    current=${line##*[[:space:]]}
    read -ra words <<<"${line%"$current"}"
    for word in "${words[@]:1}"; do
        previous=$word
        if [[ -n $skip ]]; then
            [[ $skip == value ]] || place+=("$skip" "$word")
            skip=""
        elif [[ $word == --@(home|stack|dispatcher|gateway|blobs|studies|files) ]]; then
            skip=$word
        elif [[ $word == --@(home|stack|dispatcher|gateway|blobs|studies|files)=* ]]; then
            place+=("$word")
        elif [[ $word == -* ]]; then
            [[ $word == *=* || " ${_inkling_flags[${verb:-help}]-} " == *" $word "* ]] || skip=value
        elif [[ -n ${_inkling_options[${verb:-.}]+x} ]]; then
            count=$((count + 1))
        else
            verb=${verb:+$verb }$word
        fi
    done
    option=""
    if [[ -n $skip ]]; then option=$previous; fi
    if [[ $current == --*=* ]]; then option=${current%%=*}; fi
    COMPREPLY=()
    if [[ -n $option ]]; then
        read -ra known <<<"${_inkling_choices["$verb $option"]-}"
        [[ ${#known[@]} -gt 0 ]] || mapfile -t known < <(_inkling_names "$option" "${place[@]}")
        if [[ $current == --*=* ]]; then known=("${known[@]/#/"$option="}"); fi
    elif [[ $current == -* ]]; then
        read -ra known <<<"${_inkling_options[${verb:-help}]-}"
    elif [[ -n ${_inkling_words[${verb:-.}]-} ]]; then
        read -ra known <<<"${_inkling_words[${verb:-.}]}"
    else
        read -ra wanted <<<"${_inkling_arguments[${verb:-.}]-}"
        if [[ count -ge ${#wanted[@]} && ${wanted[*]-} == *... ]]; then count=$((${#wanted[@]} - 1)); fi # more of the last
        if [[ ${wanted[count]-} == +([a-z|]) ]]; then # the words themselves
            IFS="|" read -ra known <<<"${wanted[count]}"
        else
            mapfile -t known < <(_inkling_names "${wanted[count]-}" "${place[@]}")
        fi
    fi
    _inkling_reply "$current" "${known[@]}"
}

# Where nothing fits, files.
complete -o default -F _inkling inkling
