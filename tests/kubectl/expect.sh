# What sections say of a command. Each function takes the expectation first, then the command; standard input is passed on.

# shows TEXT COMMAND...: it succeeds and prints TEXT somewhere. Runs of blanks count as one, as columns vary in width.
shows() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || _differs "success" "$got" "$@"
    [[ $(_narrow <<<"$got") == *"$(_narrow <<<"$want")"* ]] || _differs "$want" "$got" "$@"
}

# hides TEXT COMMAND...: it succeeds and TEXT is nowhere in what it prints.
hides() {
    local unwanted=$1 got
    shift
    got=$("$@" 2>&1) || _differs "success" "$got" "$@"
    [[ $(_narrow <<<"$got") != *"$(_narrow <<<"$unwanted")"* ]] || _differs "anything without: $unwanted" "$got" "$@"
}

# prints TEXT COMMAND...: it succeeds and prints exactly TEXT.
prints() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || _differs "success" "$got" "$@"
    [[ $got == "$want" ]] || _differs "$want" "$got" "$@"
}

# matches PATTERN COMMAND...: it succeeds and prints what the extended regular expression matches.
matches() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || _differs "success" "$got" "$@"
    [[ $(_narrow <<<"$got") =~ $want ]] || _differs "what matches $want" "$got" "$@"
}

# refused TEXT COMMAND...: it fails and says TEXT.
refused() {
    local want=$1 got
    shift
    ! got=$("$@" 2>&1) || _differs "failure: $want" "$got" "$@"
    [[ $(_narrow <<<"$got") == *"$(_narrow <<<"$want")"* ]] || _differs "failure: $want" "$got" "$@"
}

# becomes TEXT COMMAND...: within a minute it succeeds and prints TEXT somewhere. For what no `kubectl wait` covers.
becomes() {
    local want=$1 got end=$((SECONDS + 60))
    shift
    until got=$("$@" 2>&1) && [[ $(_narrow <<<"$got") == *"$(_narrow <<<"$want")"* ]]; do
        ((SECONDS < end)) || _differs "$want, within a minute" "$got" "$@"
        sleep 0.2
    done
}

_narrow() {
    tr -s '[:blank:]' ' '
}

_differs() {
    local want=$1 got=$2
    shift 2
    {
        echo "${BASH_SOURCE[2]}:${BASH_LINENO[1]}: $*"
        echo "--- expected"
        echo "$want"
        echo "--- printed"
        echo "$got"
    } >&2
    exit 1
}
