package ers_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sae/integrity/ers"
)

const shared = "../../../shared/ers"

func readShared(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared, name))
	if errors.Is(err, os.ErrNotExist) {
		if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
			t.Fatalf("reference records are missing: %v", err)
		}
		t.Skipf("reference records are missing: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// known is the digests function of a group known by its hashes only.
func known(t *testing.T, hash crypto.Hash, base64s ...string) func(crypto.Hash) ([][]byte, error) {
	t.Helper()
	var digests [][]byte
	for _, text := range base64s {
		digest, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest)
	}
	return func(h crypto.Hash) ([][]byte, error) {
		if h != hash {
			return nil, errors.New("the documents are known by " + hash.String() + " only")
		}
		return digests, nil
	}
}

// TestRecordsOfOtherMakers verifies records made by other programs with
// commercial authorities, for their documents, and holds Marshal to their bytes.
func TestRecordsOfOtherMakers(t *testing.T) {
	document := func(name string) func(crypto.Hash) ([][]byte, error) { return group(readShared(t, name)) }
	text := group([]byte("123456"))
	for _, c := range []struct {
		record  string
		digests func(crypto.Hash) ([][]byte, error)
		stamps  []int // time-stamps in each chain
		want    string
	}{
		{"BIN-1_ER.ers", document("BIN-1.bin"), []int{1}, ""},
		{"BIN-1_ER.ers", text, []int{1}, ers.CheckTree},
		{"BIN-2_ER.ers", document("BIN-2.bin"), []int{2}, ""},
		// The text that lies beside this record is not one of the three objects
		// that its first list holds; the list itself stands for them.
		{"bsi_gov_vte-lza_002.ers", known(t, crypto.SHA256,
			"PGWok+ZSmZAc+yn0miXyZSYDd0boWs4wNypx1ZP86tU=", "wy/tbZ9qnMF8SgmKcvMJKCgyVZJP2k/GTYjclk5ffCk=",
			"7rANSv5cXguChf1s0MQ6YsN8a3sQOuOINtQ3+PYf1Mg="), []int{1}, ""},
		{"bsi_gov_vte-lza_002.ers", document("bsi_gov_vte-lza_002.bin"), []int{1}, ers.CheckTree},
		{"er-asn1-simple.ers", group([]byte("1")), []int{1}, ""},
		{"1_0_Initial.er", text, []int{1}, ""},
		{"1_1_Renew_Unsorted.er", text, []int{1, 1}, ""},
		{"1_1_Renew_Unsorted.er", group([]byte("1234567")), []int{1, 1}, "imprint"},
		{"er-asn1-tst-renewal.ers", known(t, crypto.SHA256,
			"nOLX01D5QYQHQ58MoR3MEquffNsV+ezF7Kk1SCYCuHI=", "7sxNM1LA6WX9iHle39GmDFrAmzwRAMBS67auC9NDKyY="), []int{2}, ""},
		{"er-asn1-tst-renewal.ers", known(t, crypto.SHA256,
			"nOLX01D5QYQHQ58MoR3MEquffNsV+ezF7Kk1SCYCuHI="), []int{2}, ""},
		{"er-asn1-simple-invalid.ers", known(t, crypto.SHA256,
			"nOPX01D5QYQHQ58MoR3MEquffNsV+ezF7Kk1SCYCuHI=", "7s1NM1LA6WX9iHle39GmDFrAmzwRAMBS67auC9NDKyY="), []int{1}, "imprint"},
	} {
		t.Run(c.record, func(t *testing.T) {
			der := readShared(t, c.record)
			r := parse(t, der)
			if !bytes.Equal(marshal(t, r), der) {
				t.Error("written back with other bytes")
			}
			if len(r.Chains) != len(c.stamps) {
				t.Fatalf("%d chains, want %d", len(r.Chains), len(c.stamps))
			}
			for i, chain := range r.Chains {
				if len(chain) != c.stamps[i] {
					t.Errorf("chain %d has %d time-stamps, want %d", i+1, len(chain), c.stamps[i])
				}
			}
			checks, since := ers.Verify(r, c.digests, verifyImprint)
			switch list := problems(checks); {
			case c.want == "" && list != nil:
				t.Errorf("refused: %v", list)
			case c.want == "" && !since.After(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)):
				t.Errorf("proved since %v", since)
			case c.want != "" && (list == nil || !strings.HasPrefix(list[0], c.want+" of chain 1, time-stamp 1: failed")):
				t.Errorf("problems %q, want %q of the first time-stamp", list, c.want)
			}
		})
	}
}

// TestSimpleRecordOfAnotherMaker has no document at hand: each hash of its first
// list stands for one, and a hash that is not there does not.
func TestSimpleRecordOfAnotherMaker(t *testing.T) {
	r := parse(t, readShared(t, "er-asn1-simple.ers"))
	list := r.Chains[0][0].ReducedHashtree[0]
	for name, c := range map[string]struct {
		digests [][]byte
		ok      bool
	}{
		"each alone":      {list[1:2], true},
		"the whole group": {list, true},
		"part of it":      {list[:2], false},
		"another":         {[][]byte{digestOf(crypto.SHA512, []byte("another"))}, false},
	} {
		checks, _ := ers.Verify(r, func(crypto.Hash) ([][]byte, error) { return c.digests, nil }, verifyImprint)
		if got := problems(checks); (got == nil) != c.ok {
			t.Errorf("%s: problems %v", name, got)
		}
	}
}

func TestMalformedRecordOfAnotherMaker(t *testing.T) {
	_, err := ers.Parse(readShared(t, "BIN-1_ER_malformed.ers"))
	var refused *ers.ParseError
	if !errors.As(err, &refused) || refused.Reason != "not a DER SEQUENCE" {
		t.Errorf("error %v, want that it is no SEQUENCE", err)
	}
}
