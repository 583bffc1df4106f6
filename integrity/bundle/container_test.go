package bundle

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
)

// piece is a member of a zip as its raw parts, so that any of them can lie.
type piece struct {
	local, content, central []byte
}

// pieces are those of members that a bundle could have.
func pieces(members ...member) (out []piece) {
	var at int64
	for _, m := range members {
		h := &header{name: m.name, size: int64(len(m.data)), at: at, crc: crc32.ChecksumIEEE(m.data), when: stampOf(start)}
		p := piece{h.local(), m.data, h.central()}
		at += int64(len(p.local) + len(p.content))
		out = append(out, p)
	}
	return out
}

// assemble joins pieces: contents, directory, end.
func assemble(list []piece) []byte {
	var body, dir []byte
	for _, p := range list {
		body = append(append(body, p.local...), p.content...)
		dir = append(dir, p.central...)
	}
	e := end{int64(len(list)), int64(len(body)), int64(len(dir))}
	return slices.Concat(body, dir, e.bytes())
}

var plainMembers = []member{{"mimetype", []byte(mediaType)}, {"ledger/key.txt", []byte("key")}, {"documents/o1/a.txt", []byte("content")}}

func TestContainerTakesItsOwnForm(t *testing.T) {
	b := assemble(pieces(plainMembers...))
	c, err := openContainer(bytes.NewReader(b), int64(len(b)))
	check(t, err)
	for _, m := range plainMembers {
		have, err := c.small(m.name)
		if err != nil || !bytes.Equal(have, m.data) {
			t.Errorf("%s: %q, %v", m.name, have, err)
		}
		if _, err := c.sum(m.name); err != nil {
			t.Error(err)
		}
	}
}

// TestContainerRefuses makes zips that others may read, or read otherwise. Each
// says what the reason must hold.
func TestContainerRefuses(t *testing.T) {
	edit := func(f func(p []piece) []piece) func() []byte {
		return func() []byte { return assemble(f(pieces(plainMembers...))) }
	}
	both := func(local, central int, value uint16) func() []byte {
		return edit(func(p []piece) []piece {
			le.PutUint16(p[1].local[local:], value)
			le.PutUint16(p[1].central[central:], value)
			return p
		})
	}
	central := func(at int, value uint32) func() []byte {
		return edit(func(p []piece) []piece { le.PutUint32(p[1].central[at:], value); return p })
	}
	whole := func(f func(b []byte) []byte) func() []byte {
		return func() []byte { return f(assemble(pieces(plainMembers...))) }
	}
	end := func(at int, value uint32) func() []byte {
		return whole(func(b []byte) []byte { le.PutUint32(b[len(b)-endSize+at:], value); return b })
	}
	named := func(name string) func() []byte {
		return func() []byte { return assemble(pieces(append(plainMembers, member{name, []byte("x")})...)) }
	}
	for name, tc := range map[string]struct {
		zip func() []byte
		why string
	}{
		"empty":               {func() []byte { return nil }, "too short"},
		"one member":          {func() []byte { return assemble(pieces(plainMembers[0])) }, "1 members"},
		"no member":           {func() []byte { return assemble(nil) }, "0 members"},
		"suffix":              {whole(func(b []byte) []byte { return append(b, 0) }), "bytes behind its end"},
		"suffix as comment":   {whole(func(b []byte) []byte { b[len(b)-2]++; return append(b, 'x') }), "bytes behind its end"},
		"comment length":      {end(18, 1<<16), "end records"},
		"prefix":              {whole(func(b []byte) []byte { return append([]byte("x"), b...) }), "directory"},
		"prefix with offsets": {prefixed, "not right behind"},
		"gap":                 {gap, "not right behind"},
		"gap at the end":      {edit(func(p []piece) []piece { p[2].content = append(bytes.Clone(p[2].content), 0); return p }), "bytes before its directory"},
		"overlap":             {overlap, "not right behind"},
		"reordered":           {edit(func(p []piece) []piece { p[1].central, p[2].central = p[2].central, p[1].central; return p }), "not right behind"},
		"first not mimetype":  {func() []byte { return assemble(pieces(plainMembers[1], plainMembers[0])) }, "not mimetype"},
		"twice":               {named("ledger/key.txt"), "twice"},
		"twice, other case":   {named("LEDGER/KEY.TXT"), "twice"},
		"member not listed": {edit(func(p []piece) []piece {
			p[1].content = slices.Concat(p[1].content, p[2].local, p[2].content)
			return p[:2]
		}), "bytes before its directory"},
		"fewer than counted":   {edit(func(p []piece) []piece { p[2].central = nil; return p }), "3 members"},
		"deflated":             {deflated, "compressed"},
		"method":               {both(8, 10, 8), "compressed"},
		"enciphered":           {both(6, 8, 1), "enciphered"},
		"data descriptor":      {both(6, 8, 8), "data descriptor"},
		"UTF-8 flag on ASCII":  {both(6, 8, flagUTF8), "directory is not"},
		"version":              {both(4, 6, 10), "directory is not"},
		"made by":              {central(4, 20<<16|20), "directory is not"},
		"other time":           {both(10, 12, 0), "another time"},
		"symlink":              {central(38, 0o120777<<16), "plain file"},
		"folder":               {central(38, 0o40755<<16|0x10), "plain file"},
		"setuid":               {central(38, 0o104755<<16), "plain file"},
		"DOS attribute":        {central(38, plainFile|2), "plain file"},
		"internal attribute":   {central(34, 1<<16), "directory is not"},
		"disk":                 {central(34, 1), "directory is not"},
		"member comment":       {edit(func(p []piece) []piece { p[1].central[32] = 1; p[1].central = append(p[1].central, 'x'); return p }), "comment"},
		"extra":                {extra(0x5455), "extra"},
		"zip64 extra, unasked": {extra(zip64Tag), "extra"},
		"local extra": {edit(func(p []piece) []piece {
			p[1].local = append(p[1].local, 0x55, 0x54, 0, 0)
			p[1].local[28] = 4
			return p
		}), "local header"},
		"local name":      {edit(func(p []piece) []piece { p[1].local[localSize] = 'L'; return p }), "local header"},
		"local size":      {edit(func(p []piece) []piece { p[1].local[18]++; return p }), "local header"},
		"local checksum":  {edit(func(p []piece) []piece { p[1].local[14]++; return p }), "local header"},
		"size":            {central(24, 2), "compressed"},
		"size past end":   {edit(func(p []piece) []piece { le.PutUint64(p[2].central[20:], 0x7fffffff_7fffffff); return p }), "local header"},
		"size of zip64":   {edit(func(p []piece) []piece { le.PutUint64(p[1].central[20:], 1<<64-1); return p }), "extra|directory is not"},
		"offset of zip64": {central(42, max32), "directory is not"},
		"disk number":     {end(4, 1), "end records"},
		"members here":    {end(8, 3|2<<16), "2 members|end records"},
		"members":         {end(8, 4|4<<16), "4 members"},
		"directory start": {end(16, 1), "end records"},
		"directory size":  {end(12, 1), "end records"},
		"start past end":  {end(16, max32-1), "inside"},
		"zip64 wanted": {whole(func(b []byte) []byte {
			copy(b[len(b)-endSize+8:], bytes.Repeat([]byte{0xff}, 12))
			return b
		}), "inside"},
		"zip64 unasked":        {whole(unaskedZip64), "end records"},
		"too many members":     {tooMany, "100001 members"},
		"too large":            {tooLarge, "more than"},
		"huge directory":       {whole(func(b []byte) []byte { return hugeDirectory() }), "directory of"},
		"absolute":             {named("/etc/passwd"), "name"},
		"parent":               {named("../x"), "name"},
		"parent inside":        {named("documents/../x"), "name"},
		"dots":                 {named("documents/o1/.."), "name"},
		"hidden":               {named("documents/o1/.profile"), "name"},
		"backslash":            {named(`documents\o1\x`), "name"},
		"drive":                {named("C:x"), "name"},
		"no name":              {named(""), "name"},
		"folder name":          {named("documents/o1/"), "name"},
		"empty folder":         {named("documents//x"), "name"},
		"this folder":          {named("./x"), "name"},
		"deep":                 {named("documents/o1/x/y"), "name"},
		"line in a folder":     {named("documents/o1\nx/y"), "name"},
		"line in a name":       {named("documents/o1/a\nb"), "name"},
		"zero byte":            {named("documents/o1/a\x00b"), "name"},
		"not UTF-8":            {named("documents/o1/\xff"), "name"},
		"right to left":        {named("documents/o1/a\u202efdp.exe"), "name"},
		"option":               {named("-rf/x"), "name"},
		"space at the end":     {named("documents/o1/a "), "name"},
		"too long":             {named("documents/o1/" + strings.Repeat("x", 201)), "name"},
		"much too long":        {named(strings.Repeat("x", 60_000)), "directory of|name"},
		"folder with a dollar": {named("documents/$(x)/y"), "name"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tc.zip()
			_, err := openContainer(bytes.NewReader(b), int64(len(b)))
			if err == nil {
				t.Fatal("taken")
			}
			if _, ok := err.(*ContainerError); !ok {
				t.Errorf("not a ContainerError: %v", err)
			}
			if !slices.ContainsFunc(strings.Split(tc.why, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
				t.Errorf("%v, want %q", err, tc.why)
			}
		})
	}
}

// prefixed is a zip with bytes before it, whose offsets know of them.
func prefixed() []byte {
	var w bytes.Buffer
	w.WriteString("#!/bin/sh\n")
	p := pieces(plainMembers...)
	for i := range p {
		le.PutUint32(p[i].central[42:], le.Uint32(p[i].central[42:])+uint32(w.Len()))
	}
	b := assemble(p)
	le.PutUint32(b[len(b)-endSize+16:], le.Uint32(b[len(b)-endSize+16:])+uint32(w.Len()))
	w.Write(b)
	return w.Bytes()
}

// gap is a zip with bytes between two members.
func gap() []byte {
	p := pieces(plainMembers...)
	p[1].content = append(bytes.Clone(p[1].content), 0)
	le.PutUint32(p[2].central[42:], le.Uint32(p[2].central[42:])+1)
	return assemble(p)
}

// overlap is a zip with two names for the same bytes.
func overlap() []byte {
	p := pieces(append(plainMembers, member{"ledger/key.txt2", []byte("key")})...)
	p[3].local, p[3].content = nil, nil
	le.PutUint32(p[3].central[42:], le.Uint32(p[1].central[42:]))
	return assemble(p)
}

// deflated is a zip as zips usually are.
func deflated() []byte {
	var w bytes.Buffer
	z := zip.NewWriter(&w)
	for _, m := range plainMembers {
		f, err := z.CreateRaw(&zip.FileHeader{Name: m.name, Method: zip.Deflate, CompressedSize64: uint64(len(m.data)), UncompressedSize64: 100, CRC32: 1})
		if err != nil {
			panic(err)
		}
		f.Write(m.data)
	}
	z.Close()
	return w.Bytes()
}

// extra is a zip with an empty extra field in the directory.
func extra(tag uint16) func() []byte {
	return func() []byte {
		p := pieces(plainMembers...)
		p[1].central = le.AppendUint16(le.AppendUint16(p[1].central, tag), 0)
		p[1].central[30] = 4
		return assemble(p)
	}
}

// unaskedZip64 puts zip64 records where they are not needed.
func unaskedZip64(b []byte) []byte {
	last := b[len(b)-endSize:]
	e := end{int64(le.Uint16(last[8:])), int64(le.Uint32(last[16:])), int64(le.Uint32(last[12:]))}
	b = e.append64(b[:len(b)-endSize])
	return append(b, end{max16, max32, max32}.bytes()[end64Size:]...)
}

func tooMany() []byte {
	members := []member{{"mimetype", nil}}
	for i := range maxMembers {
		members = append(members, member{fmt.Sprint("m", i), nil})
	}
	return assemble(pieces(members...))
}

func tooLarge() []byte {
	return assemble(pieces(plainMembers[0], member{"salts/o1.bin", make([]byte, maxSmall+1)}))
}

// hugeDirectory claims a directory that no number of members explains.
func hugeDirectory() []byte {
	b := make([]byte, 1<<20)
	return append(b, end{members: 3, start: 0, size: 1 << 20}.bytes()...)
}

// holes is a file of a given size of which only some bytes are not zero.
type holes struct {
	size  int64
	parts map[int64][]byte
}

func (h *holes) ReadAt(b []byte, at int64) (int, error) {
	n := int(min(int64(len(b)), h.size-at))
	clear(b[:n])
	for start, part := range h.parts {
		if from, to := max(at, start), min(at+int64(n), start+int64(len(part))); from < to {
			copy(b[from-at:], part[from-start:to-start])
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// TestBeyondFourGigabytes holds zip64 headers against another reader. Nothing is
// hashed: the contents are holes.
func TestBeyondFourGigabytes(t *testing.T) {
	for _, size := range []int64{max32 - 1, max32, max32 + 1, 5 << 30} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			file := &holes{parts: map[int64][]byte{}}
			var dir []byte
			e := end{members: 3}
			for _, h := range []*header{{name: "mimetype", size: 1}, {name: "documents/o1/film.mkv", size: size}, {name: "documents/o2/behind.txt", size: 7}} {
				h.at = e.start
				file.parts[h.at] = h.local()
				e.start += int64(len(h.local())) + h.size
				dir = append(dir, h.central()...)
			}
			e.size = int64(len(dir))
			file.parts[e.start] = append(dir, e.bytes()...)
			file.size = e.start + int64(len(file.parts[e.start]))

			c, err := openContainer(file, file.size)
			check(t, err)
			z, err := zip.NewReader(file, file.size)
			check(t, err)
			for i, f := range z.File {
				at, err := f.DataOffset()
				check(t, err)
				h := c.members[c.order[i]]
				if f.Name != h.name || f.UncompressedSize64 != uint64(h.size) || at != h.at+int64(len(h.local())) {
					t.Errorf("%s: %d bytes at %d, want %d at %d", f.Name, f.UncompressedSize64, at, h.size, h.at)
				}
			}
		})
	}
}

// TestManyMembers: the number of members alone can ask for zip64.
func TestManyMembers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{max16 - 1, max16, maxMembers} {
		members := []member{{"mimetype", nil}}
		for i := range n - 1 {
			members = append(members, member{fmt.Sprint("m", i), nil})
		}
		b := assemble(pieces(members...))
		c, err := openContainer(bytes.NewReader(b), int64(len(b)))
		check(t, err)
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		check(t, err)
		if len(c.order) != n || len(z.File) != n {
			t.Errorf("%d and %d members, want %d", len(c.order), len(z.File), n)
		}
	}
}
