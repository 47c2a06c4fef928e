# SPDX-License-Identifier: MIT
# Read by the others: `more` is true until $i is the number of turns in $turns, or, if that is a number with an s behind it, until so many
# seconds have passed since the first call.
more() {
    case $turns in
    *s)
        read -r now rest </proc/uptime
        now=${now%.*}
        end_at=${end_at:-$((now + ${turns%s}))}
        [ "$now" -lt "$end_at" ]
        ;;
    *) [ "$i" -lt "$turns" ] ;;
    esac
}
