package main

import (
	"regexp"
	"testing"
)

// place is how every error of a metadata file begins: file, line, column.
var place = regexp.MustCompile(`^meta\.(json|csv):[1-9][0-9]*:[1-9][0-9]*: `)

// FuzzMetadata: whatever a metadata file holds, it is read or refused with the
// place of the error, and no two rows speak of one file.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"title":"a","files":{"a/b.pdf":{"channel":"digitised","scan":{"pages":2}}}}`, `{"title":1}`, `{"files":{"a":{"b":1}}}`, "{}\n{}", `{"files":{"a":{},"./a":{}}}`, `{"scan":{"pages":"x"}}`,
		"file,title\na,b\n", "file;title\r\na;b;c\n", "file,scan.pages\na,-1\n", "file,file\n", "title\n", "file,custom.x\n\"a\nb\",c\n,d\n", "file,title\na/../b,1\nb,2\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range map[string]func(string, []byte) (*metadata, error){"meta.json": parseJSONMetadata, "meta.csv": parseCSVMetadata} {
			m, err := parse(name, b)
			if err != nil {
				if !place.MatchString(err.Error()) {
					t.Fatalf("%q: no place in %q", b, err)
				}
				continue
			}
			if len(m.files) != len(m.where) {
				t.Fatalf("%q: %d files, %d places", b, len(m.files), len(m.where))
			}
		}
	})
}
