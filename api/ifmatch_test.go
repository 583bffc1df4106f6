package api

import (
	"slices"
	"strings"
	"testing"
)

func TestReadAs(t *testing.T) {
	for match, want := range map[string][]string{
		`"12-ab"`: {"12"}, `"12.3-ab", "4-c"`: {"12.3", "4"}, `W/"12-ab"`: nil, `"12"`: {"12"}, `12-ab`: nil, `""`: nil, `"`: nil, `*`: nil, ` "1-x" ,`: {"1"},
	} {
		if got := readAs(match); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", match, got, want)
		}
	}
	if as, tag := "7", etag("7", "shown"); !slices.Equal(readAs(tag), []string{as}) || tag == etag("7", "other") {
		t.Errorf("%s", tag)
	}
}

func FuzzReadAs(f *testing.F) {
	for _, seed := range []string{`"12-ab"`, `W/"1"`, `*`, `"", "`, `"a-b-c"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, match string) {
		for _, as := range readAs(match) {
			if strings.Contains(as, ",") || strings.Contains(as, "-") || !strings.Contains(match, as) {
				t.Errorf("%q: %q", match, as)
			}
		}
	})
}
