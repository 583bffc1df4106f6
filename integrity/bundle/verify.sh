#!/bin/sh
# Verifies a proof bundle with openssl (3.0 or later), sha256sum and the usual tools
# of a POSIX shell. Unpack the bundle into an empty folder, then:
#
#   sh verify.sh ROOTS.pem
#
# ROOTS.pem holds the root certificates of the time-stamping authorities that you
# trust, obtained elsewhere. Without it the bundle's own are taken, and the script
# ends with status 1: the time then rests on the bundle's word alone.
set -eu
LC_ALL=C
export LC_ALL
roots=${1:-}
case $roots in '' | /*) ;; *) roots=$PWD/$roots ;; esac
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

ok() { printf 'OK      %s\n' "$1"; }
fail() {
	printf 'FAILED  %s\n' "$1"
	exit 1
}

# sum: SHA-256 of standard input, in hex.
sum() { sha256sum | cut -c1-64; }

# unhex: the bytes that a hex string stands for.
unhex() {
	rest=$1
	while [ -n "$rest" ]; do
		byte=${rest%"${rest#??}"}
		rest=${rest#??}
		printf "\\$(printf '%03o' "0x$byte")"
	done
}

# hex: base64 on standard input to hex.
hex() { openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n'; }

# pair: hash of two hashes in binary order (RFC 4998 section 4.2).
pair() { unhex "$(printf '%s\n%s\n' "$1" "$2" | sort | tr -d '\n')" | sum; }

# node: hash of an inner node (RFC 6962 section 2.1).
node() { { printf '\001'; unhex "$1$2"; } | sum; }

# field NAME FILE: value of a string or number in one line of JSON.
field() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p' "$2"; }

# inclusion LEAF INDEX SIZE HASHES: the root that an inclusion proof gives, in hex
# (RFC 9162 section 2.1.3.2). HASHES is a file, one base64 hash a line.
inclusion() {
	r=$1 fn=$2 sn=$(($3 - 1))
	while read -r line; do
		p=$(printf '%s' "$line" | hex)
		[ "$sn" -gt 0 ] || { echo 'too long'; return; }
		if [ $((fn % 2)) -eq 1 ] || [ "$fn" -eq "$sn" ]; then
			r=$(node "$p" "$r")
			while [ $((fn % 2)) -eq 0 ] && [ "$fn" -gt 0 ]; do fn=$((fn / 2)) sn=$((sn / 2)); done
		else
			r=$(node "$r" "$p")
		fi
		fn=$((fn / 2)) sn=$((sn / 2))
	done <"$4"
	[ "$sn" -eq 0 ] || { echo 'too short'; return; }
	echo "$r"
}

# record FILE LEAF MEMBER...: verifies an evidence record over the group whose
# members have these hashes: its tree, then its token.
record() {
	file=$1
	leaf=$2
	shift 2
	# What is read of the DER: the lists of the reduced hash tree (depth 5 and 6)
	# and where the token stands (depth 4).
	openssl asn1parse -inform DER -in "$file" | awk '
		{ off = $1 + 0; split($0, a, "d="); d = a[2] + 0; split($0, h, "hl="); hl = h[2] + 0; split($0, l, " l="); len = l[2] + 0 }
		d == 3 && /cons: SEQUENCE/ { stamps++; tree = 0 }
		d == 4 && /cont \[ 2 \]/ && !token { tree = 1; next }
		d == 4 && /cons: SEQUENCE/ && stamps && !token { tree = 0; token = 1; print "token", off, hl + len }
		tree && d == 5 { list++ }
		tree && d == 6 && /OCTET STRING/ { sub(/.*\[HEX DUMP\]:/, ""); print "list", list, tolower($0) }
		END { print "stamps", stamps }' >"$tmp/er"
	[ "$(sed -n 's/^stamps //p' "$tmp/er")" = 1 ] ||
		fail "$file: renewed record: verify it with sae-verify or another RFC 4998 verifier"
	read -r _ off len <<-EOF
		$(grep '^token' "$tmp/er")
	EOF
	tail -c "+$((off + 1))" "$file" | head -c "$len" >"$tmp/token"
	if grep -q '^list' "$tmp/er"; then
		first=$(sed -n 's/^list 1 //p' "$tmp/er")
		[ "$first" = "$(printf '%s\n' "$@" | sort)" ] || fail "$file: its first list is not the hashes of its data objects"
		root=$leaf
		for sibling in $(sed -n 's/^list [0-9]* //p' "$tmp/er" | tail -n "+$(($# + 1))"); do
			root=$(pair "$root" "$sibling")
		done
	else
		root=$leaf
	fi
	stamp "$file" "$root"
}

# stamp FILE ROOT: verifies the token in $tmp/token over ROOT (RFC 3161), once.
stamp() {
	seen=$tmp/seen-$(sum <"$tmp/token")-$2
	if [ ! -e "$seen" ]; then
		cert=$(ls tsa/*.pem | grep -v '\.crl\.pem$' | while read -r c; do
			cmp -s "${c%.pem}.tst" "$tmp/token" && echo "$c"
		done)
		[ -n "$cert" ] || fail "$1: its token is not under tsa/"
		when=$(openssl ts -reply -in "$tmp/token" -token_in -text 2>/dev/null | sed -n 's/^Time stamp: //p')
		at=$(date -u -d "$when" +%s 2>/dev/null) && at="-attime $at" || at=
		# shellcheck disable=SC2086
		openssl ts -verify -digest "$2" -in "$tmp/token" -token_in -CAfile "${roots:-$cert}" -untrusted "$cert" $at >"$tmp/out" 2>&1 ||
			{ cat "$tmp/out"; fail "$1: time-stamp"; }
		: >"$seen"
		ok "time-stamp of $when"
	fi
	ok "evidence record $1"
}

sha256sum -c --quiet SHA256SUMS || fail 'SHA256SUMS'
ok 'SHA256SUMS'

for cp in ledger/checkpoint-*.txt; do
	name=$(basename "$cp" .txt)
	leaf=$(sum <"$cp")
	record "META-INF/evidencerecord-$name.ers" "$leaf" "$leaf"
	sed '/^$/,$d' "$cp" >"$tmp/text"
	tail -n 1 "$cp" | awk '{ print $3 }' | openssl base64 -d -A | tail -c 64 >"$tmp/sig"
	openssl pkeyutl -verify -pubin -inkey ledger/key.pem -rawin -in "$tmp/text" -sigfile "$tmp/sig" >/dev/null 2>&1 ||
		fail "$cp: signature"
	ok "signature of $cp"
done

for item in ledger/*.item; do
	id=$(basename "$item" .item)
	doc=units/$id.json
	[ -e "$doc" ] || doc=$(ls -d "documents/$id"/*)
	content=$(sum <"$doc")
	salt=$(sum <"salts/$id.bin")
	leaf=$(pair "$content" "$salt")
	record "META-INF/evidencerecord-$id.ers" "$leaf" "$content" "$salt"

	# The item names the same commitment, and stands in the entry.
	sed -n 's/^item //p' "$item" | openssl base64 -d -A >"$tmp/item"
	sed -n 's/^extra //p' "ledger/$id.tlog-proof" | openssl base64 -d -A >"$tmp/entry"
	[ "$(field leaf "$tmp/item" | hex)" = "$leaf" ] || fail "$item: it commits to something else"
	tail -n +4 "$item" >"$tmp/hashes"
	got=$(inclusion "$({ printf '\000'; cat "$tmp/item"; } | sum)" "$(sed -n 's/^index //p' "$item")" "$(field count "$tmp/entry")" "$tmp/hashes")
	[ "$got" = "$(field root "$tmp/entry" | hex)" ] || fail "$item: not in its entry"

	# The entry stands in the ledger of a checkpoint that is sealed above.
	proof=ledger/$id.tlog-proof
	sed '1,/^$/d' "$proof" >"$tmp/checkpoint"
	size=$(sed -n 2p "$tmp/checkpoint")
	cmp -s "$tmp/checkpoint" "ledger/checkpoint-$size.txt" || fail "$proof: its checkpoint is not sealed here"
	sed -n '/^index /,/^$/p' "$proof" | sed '1d;$d' >"$tmp/hashes"
	got=$(inclusion "$({ printf '\000'; cat "$tmp/entry"; } | sum)" "$(sed -n 's/^index //p' "$proof")" "$size" "$tmp/hashes")
	[ "$got" = "$(sed -n 3p "$tmp/checkpoint" | hex)" ] || fail "$proof: not in the ledger"
	ok "$doc: archived $(field time "$tmp/entry")"
done

if [ -z "$roots" ]; then
	echo "NOT TRUSTED: all of it hangs together, but only under the certificates that the bundle carries itself."
	echo "Give the authority's root certificates, obtained elsewhere: sh verify.sh ROOTS.pem"
	exit 1
fi
echo "VERIFIED under $roots"
