#!/bin/sh
# Verifies a proof bundle with openssl (3.0 or later), sha256sum and the usual tools
# of a POSIX shell. Unpack the bundle into an empty folder, then:
#
#   sh verify.sh ROOTS.pem
#
# ROOTS.pem holds the root certificates of the time-stamping authorities that you
# trust, obtained elsewhere. Without it the bundle's own are taken, and the script
# ends with status 1: the time then rests on the bundle's word alone. The status is
# 0 when all was verified, 1 when not.
#
# It does not read revocation lists, manifests, or renewed records: sae-verify and
# other verifiers of RFC 4998 do.
set -eu
LC_ALL=C
export LC_ALL
roots=${1:-}
case $roots in '' | /*) ;; *) roots=$PWD/$roots ;; esac
cd "$(dirname "$0")"
tmp=$(mktemp -d)
# Whatever ends the script early, its status is 1.
finish() {
	status=$?
	rm -rf "$tmp"
	[ "$status" -eq 0 ] && return
	echo "NOT VERIFIED"
	exit 1
}
trap finish EXIT

ok() { printf 'OK      %s\n' "$1"; }
fail() {
	printf 'FAILED  %s\n' "$1"
	exit 1
}

# known FILE...: the files that belong in the bundle.
known() { printf '%s\n' "$@" >>"$tmp/known"; }

# sum: SHA-256 of standard input, in hex.
sum() { sha256sum | cut -c1-64; }

# unhex: the bytes that a hex string stands for.
unhex() {
	printf '%b' "$(printf '%s\n' "$1" | awk '{
		for (i = 1; i < length($0); i += 2)
			printf "\\0%03o", 16 * index(d, substr($0, i, 1)) + index(d, substr($0, i + 1, 1)) - 17
	}' d=0123456789abcdef -)"
}

# hex: base64 on standard input to hex, line by line.
hex() {
	awk '{
		out = ""
		for (i = 1; i < length($0); i += 4) {
			n = 0; bytes = 3
			for (j = 0; j < 4; j++) {
				c = index(d, substr($0, i + j, 1)) - 1
				if (c < 0) { c = 0; bytes-- }
				n = n * 64 + c
			}
			if (bytes > 0) out = out substr(sprintf("%06x", n), 1, 2 * bytes)
		}
		print out
	}' d=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/ -
}

# pair: hash of two hashes in binary order (RFC 4998 section 4.2).
pair() { unhex "$(printf '%s\n%s\n' "$1" "$2" | sort | tr -d '\n')" | sum; }

# node: hash of an inner node (RFC 6962 section 2.1).
node() { { printf '\001'; unhex "$1$2"; } | sum; }

# field NAME FILE: value of a string or number in one line of JSON.
field() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p' "$2"; }

# number VALUE FILE: only digits may reach the shell's arithmetic, which would run
# what stands in other text.
number() {
	case $1 in '' | *[!0-9]* | 0?* | ???????????????????*) fail "$2: no number where one belongs" ;; esac
}

# digest VALUE FILE: a SHA-256 in hex.
digest() {
	case $1 in *[!0-9a-f]*) fail "$2: no hash where one belongs" ;; esac
	[ ${#1} -eq 64 ] || fail "$2: no hash where one belongs"
}

# word VALUE FILE: an identifier.
word() {
	case $1 in '' | -* | *[!0-9A-Za-z_-]*) fail "$2: no identifier where one belongs" ;; esac
}

# seconds: seconds since 1970 of a time on standard input, either
# 2026-11-23T16:19:49.5Z or Nov 23 16:19:49.5 2026 GMT.
seconds() {
	awk '{
		if ($0 ~ /^[0-9]/) {
			split($0, t, /[-T:.Z]/)
			y = t[1]; m = t[2]; d = t[3]; s = t[4] * 3600 + t[5] * 60 + t[6]
		} else {
			split($3, t, /[:.]/)
			y = $4; m = (index("JanFebMarAprMayJunJulAugSepOctNovDec", $1) + 2) / 3; d = $2
			s = t[1] * 3600 + t[2] * 60 + t[3]
		}
		if (m <= 2) { y--; m += 12 }
		days = 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * (m - 3) + 2) / 5) + d - 719469
		printf "%.0f\n", days * 86400 + s
	}'
}

# inclusion LEAF INDEX SIZE HASHES: the root that an inclusion proof gives, in hex
# (RFC 9162 section 2.1.3.2). HASHES is a file, one base64 hash a line.
inclusion() {
	r=$1 fn=$2 sn=$(($3 - 1))
	[ "$fn" -le "$sn" ] || { echo 'outside'; return; }
	for p in $(hex <"$4"); do
		[ "$sn" -gt 0 ] || { echo 'too long'; return; }
		if [ $((fn % 2)) -eq 1 ] || [ "$fn" -eq "$sn" ]; then
			r=$(node "$p" "$r")
			while [ $((fn % 2)) -eq 0 ] && [ "$fn" -gt 0 ]; do fn=$((fn / 2)) sn=$((sn / 2)); done
		else
			r=$(node "$r" "$p")
		fi
		fn=$((fn / 2)) sn=$((sn / 2))
	done
	[ "$sn" -eq 0 ] || { echo 'too short'; return; }
	echo "$r"
}

# record FILE CHECKPOINT LEAF MEMBER...: verifies an evidence record over the group
# whose members have these hashes: its tree, then its token, which must be the one
# of the checkpoint.
record() {
	file=$1
	name=$2
	root=$3
	shift 3
	# What is read of the DER: the lists of the reduced hash tree (depth 5 and 6)
	# and where the token stands (depth 4).
	openssl asn1parse -inform DER -in "$file" 2>/dev/null | awk '
		{ off = $1 + 0; split($0, a, "d="); d = a[2] + 0; split($0, h, "hl="); hl = h[2] + 0; split($0, l, " l="); len = l[2] + 0 }
		d == 3 && /cons: SEQUENCE/ { stamps++; tree = 0 }
		d == 4 && /cont \[ 2 \]/ && !token { tree = 1; next }
		d == 4 && /cons: SEQUENCE/ && stamps && !token { tree = 0; token = 1; print "token", off, hl + len }
		tree && d == 5 { list++ }
		tree && d == 6 && /OCTET STRING/ { sub(/.*\[HEX DUMP\]:/, ""); print "list", list, tolower($0) }
		END { print "stamps", stamps + 0 }' >"$tmp/er"
	stamps=$(sed -n 's/^stamps //p' "$tmp/er")
	[ "$stamps" -le 1 ] || fail "$file: renewed record: verify it with sae-verify or another RFC 4998 verifier"
	read -r _ off len <<-EOF
		$(grep '^token' "$tmp/er" || echo token none none)
	EOF
	number "$off" "$file"
	number "$len" "$file"
	tail -c "+$((off + 1))" "$file" | head -c "$len" >"$tmp/token"
	cmp -s "$tmp/token" "tsa/$name.tst" || fail "$file: its token is not that of $name"
	if grep -q '^list' "$tmp/er"; then
		first=$(sed -n 's/^list 1 //p' "$tmp/er")
		[ "$first" = "$(printf '%s\n' "$@" | sort)" ] || fail "$file: its first list is not the hashes of its data objects"
		for sibling in $(sed -n 's/^list [0-9]* //p' "$tmp/er" | tail -n "+$(($# + 1))"); do
			digest "$sibling" "$file"
			root=$(pair "$root" "$sibling")
		done
	elif [ $# -ne 1 ]; then
		fail "$file: no hash tree covers its data objects"
	fi
	stamp "$file" "$name" "$root"
}

# stamp FILE CHECKPOINT ROOT: verifies the token in $tmp/token over ROOT (RFC 3161),
# once, and sets $at to its time.
stamp() {
	seen=$tmp/seen-$2-$3
	if [ ! -e "$seen" ]; then
		cert=tsa/$2.pem
		when=$(openssl ts -reply -in "$tmp/token" -token_in -text 2>/dev/null | sed -n 's/^Time stamp: //p')
		at=$(printf '%s\n' "$when" | seconds)
		number "$at" "$1"
		openssl ts -verify -digest "$3" -in "$tmp/token" -token_in -CAfile "${roots:-$cert}" -untrusted "$cert" -attime "$at" >"$tmp/out" 2>&1 ||
			{ cat "$tmp/out"; fail "$1: time-stamp"; }
		echo "$at" >"$seen"
		ok "time-stamp of $when"
	fi
	at=$(cat "$seen")
	ok "evidence record $1"
}

# checkpoint FILE: verifies the signature of a checkpoint by the ledger's key, and
# that it stands for as many entries as its name says.
checkpoint() {
	sed '/^$/,$d' "$1" >"$tmp/text"
	origin=$(sed -n 1p "$tmp/text")
	[ "$(wc -l <"$tmp/text")" -eq 3 ] || fail "$1: it has other lines than a checkpoint"
	[ "$origin" = "$(sed 's/+.*//' ledger/key.txt)" ] || fail "$1: of another ledger"
	[ "ledger/checkpoint-$(sed -n 2p "$tmp/text").txt" = "$1" ] || fail "$1: of another size"
	signed=
	sed '1,/^$/d' "$1" >"$tmp/signatures"
	while read -r _ by signature; do
		[ "$by" = "$origin" ] || continue
		printf '%s' "$signature" | openssl base64 -d -A | tail -c 64 >"$tmp/sig"
		openssl pkeyutl -verify -pubin -inkey ledger/key.pem -rawin -in "$tmp/text" -sigfile "$tmp/sig" >/dev/null 2>&1 && signed=1
	done <"$tmp/signatures"
	[ -n "$signed" ] || fail "$1: signature"
	ok "signature of $1"
}

# describes UNIT ID DIGEST DOCUMENT: the description of the unit lists the object
# with this digest, and with this name, in which an underscore stands for what a
# file name should not hold.
describes() {
	tr '{' '\n' <"units/$1.json" | grep -F "\"id\":\"$2\"" | grep -F "\"sha256\":\"$3\"" >"$tmp/described" ||
		fail "units/$1.json: it does not list $4 as it is"
	base=${4##*/}
	[ "$base" = document ] && return
	pattern=$(printf '%s\n' "$base" | sed 's/[][\.*^$]/\\&/g; s/&/\\\\u0026/g; s/_/.*/g')
	[ ${#base} -lt 190 ] || pattern="$pattern.*"
	grep -q "\"filename\":\"$pattern\"" "$tmp/described" || fail "units/$1.json: it gives $4 another name"
}

sha256sum -c --quiet SHA256SUMS || fail 'SHA256SUMS'
ok 'SHA256SUMS'
[ "$(cat mimetype)" = application/vnd.etsi.asic-e+zip ] || fail mimetype

sed 's/^[^+]*+[^+]*+//' ledger/key.txt | openssl base64 -d -A | tail -c 32 >"$tmp/key"
openssl pkey -pubin -in ledger/key.pem -outform DER 2>/dev/null | tail -c 32 | cmp -s - "$tmp/key" ||
	fail 'ledger/key.pem: not the key in ledger/key.txt'
known mimetype SHA256SUMS ledger/key.txt ledger/key.pem report.txt README.txt LISEZMOI.txt verify.sh

for cp in ledger/checkpoint-*.txt; do
	[ -e "$cp" ] || fail 'no checkpoint of the ledger'
	name=$(basename "$cp" .txt)
	word "$name" "$cp"
	leaf=$(sum <"$cp")
	known "$cp" "META-INF/evidencerecord-$name.ers" "META-INF/ASiCEvidenceRecordManifest-$name.xml" "tsa/$name.tst" "tsa/$name.pem"
	[ ! -e "tsa/$name.crl.pem" ] || known "tsa/$name.crl.pem"
	record "META-INF/evidencerecord-$name.ers" "$name" "$leaf" "$leaf"
	checkpoint "$cp"
done

for item in ledger/*.item; do
	[ -e "$item" ] || fail 'no document'
	id=$(basename "$item" .item)
	word "$id" "$item"
	proof=ledger/$id.tlog-proof
	doc=
	for file in "units/$id.json" "documents/$id"/* "documents/$id"/.*; do
		[ -f "$file" ] || continue
		[ -z "$doc" ] || fail "$item: several documents"
		doc=$file
	done
	[ -n "$doc" ] || fail "$item: its document is missing"
	known "$doc" "salts/$id.bin" "$item" "$proof" "META-INF/evidencerecord-$id.ers" "META-INF/ASiCEvidenceRecordManifest-$id.xml"
	content=$(sum <"$doc")
	salt=$(sum <"salts/$id.bin")
	leaf=$(pair "$content" "$salt")

	# The checkpoint of the proof is one that is sealed above, by the same token.
	sed '1,/^$/d' "$proof" >"$tmp/checkpoint"
	size=$(sed -n 2p "$tmp/checkpoint")
	number "$size" "$proof"
	cmp -s "$tmp/checkpoint" "ledger/checkpoint-$size.txt" || fail "$proof: its checkpoint is not sealed here"
	record "META-INF/evidencerecord-$id.ers" "checkpoint-$size" "$leaf" "$content" "$salt"

	# The item names the same commitment and this document, and stands in the entry.
	sed -n 's/^item //p' "$item" | openssl base64 -d -A >"$tmp/item"
	sed -n 's/^extra //p' "$proof" | openssl base64 -d -A >"$tmp/entry"
	sed 's/,"detail":.*/}/' "$tmp/entry" >"$tmp/fields"
	[ "$(field leaf "$tmp/item" | hex)" = "$leaf" ] || fail "$item: it commits to something else"
	unit=$(field unit "$tmp/item")
	word "$unit" "$item"
	case $doc in
	units/*) [ "$unit $(grep -c '"object":' "$tmp/item")" = "$id 0" ] || fail "$item: of something else" ;;
	*)
		[ "$(field object "$tmp/item")" = "$id" ] || fail "$item: of something else"
		[ -f "units/$unit.json" ] || fail "$doc: the description of its unit is missing"
		describes "$unit" "$id" "$content" "$doc"
		;;
	esac
	index=$(sed -n 's/^index //p' "$item")
	count=$(field count "$tmp/fields")
	want=$(field root "$tmp/fields" | hex)
	number "$index" "$item"
	number "$count" "$proof"
	digest "$want" "$proof"
	tail -n +4 "$item" >"$tmp/hashes"
	got=$(inclusion "$({ printf '\000'; cat "$tmp/item"; } | sum)" "$index" "$count" "$tmp/hashes")
	[ "$got" = "$want" ] || fail "$item: not in its entry"

	# The entry stands in the ledger of the checkpoint.
	sed -n '/^index /,/^$/p' "$proof" | sed '1d;$d' >"$tmp/hashes"
	index=$(sed -n 's/^index //p' "$proof")
	want=$(sed -n 3p "$tmp/checkpoint" | hex)
	number "$index" "$proof"
	digest "$want" "$proof"
	got=$(inclusion "$({ printf '\000'; cat "$tmp/entry"; } | sum)" "$index" "$size" "$tmp/hashes")
	[ "$got" = "$want" ] || fail "$proof: not in the ledger"

	# It was written before the time-stamp; five minutes are allowed for clocks.
	time=$(field time "$tmp/fields")
	case $time in [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]*Z) ;; *) fail "$proof: no time" ;; esac
	[ "$(printf '%s\n' "$time" | seconds)" -le $((at + 300)) ] || fail "$proof: archived after its time-stamp"
	ok "$doc: archived $time"
done

# Nothing lies here that was not verified, but the roots if you put them here.
find . ! -type d | sed 's|^\./||' | sort >"$tmp/files"
known "${roots#"$PWD"/}"
sort "$tmp/known" | comm -23 "$tmp/files" - >"$tmp/strange"
[ ! -s "$tmp/strange" ] || fail "$(head -n 1 "$tmp/strange"): does not belong in the bundle"
[ -z "$(find . ! -type d ! -type f)" ] || fail 'links do not belong in the bundle'

if [ -z "$roots" ]; then
	echo "NOT TRUSTED: all of it hangs together, but only under the certificates that the bundle carries itself."
	echo "Give the authority's root certificates, obtained elsewhere: sh verify.sh ROOTS.pem"
	exit 1
fi
echo "VERIFIED under $roots"
