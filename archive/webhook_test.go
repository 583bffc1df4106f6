package archive

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sae/integrity"
)

func addWebhook(t testing.TB, a *Archive, name string) (*Webhook, string) {
	t.Helper()
	w, secret, err := a.AddWebhook(context.Background(), "admin", NewWebhook{Name: name, URL: "https://gru.example/sae?token=Geheim", Types: []string{"sae.deposit"}})
	if err != nil {
		t.Fatal(err)
	}
	return w, secret
}

// changeHook changes a webhook, which is not refused.
func changeHook(t testing.TB, a *Archive, id string, c WebhookChange) (*Webhook, string) {
	t.Helper()
	w, secret, err := a.ChangeWebhook(context.Background(), "admin", "", id, c)
	if err != nil {
		t.Fatal(err)
	}
	return w, secret
}

// TestWebhookLife: a webhook begins behind what happened, has a second secret while the first is
// replaced, can be stopped and let go on, and is forgotten with all that is kept of it.
func TestWebhookLife(t *testing.T) {
	ctx := context.Background()
	a := newArchive(t, nil)
	for range 2 {
		if err := a.NoteRefused("gru", "", Noted{Request: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	w, secret := addWebhook(t, a, "gru")
	if s, err := a.HookState("", w.ID); err != nil || s.At != (Cursor{w.Entry + 1, 2}) {
		t.Errorf("it begins at %v, %v; its entry is %d", s.At, err, w.Entry)
	}
	stored := func(want ...string) {
		t.Helper()
		all, err := a.WebhookSecrets("", w.ID)
		var got []string
		for _, b := range all {
			got = append(got, hookSecretPrefix+base64.StdEncoding.EncodeToString(b))
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d secrets, %v; want %d", len(got), err, len(want))
		}
	}
	stored(secret)
	_, lost := changeHook(t, a, w.ID, WebhookChange{Secret: RotateSecret})
	_, second := changeHook(t, a, w.ID, WebhookChange{Secret: RotateSecret}) // the answer with the other did not come
	if lost == second || second == secret {
		t.Error("a secret was drawn twice")
	}
	stored(secret, second)
	if got, shown := changeHook(t, a, w.ID, WebhookChange{Secret: RetireSecret}); shown != "" || got.Secrets != 1 {
		t.Errorf("%+v", got)
	}
	stored(second)
	if _, _, err := a.ChangeWebhook(ctx, "admin", "", w.ID, WebhookChange{Secret: RetireSecret}); !errors.Is(err, ErrRefused) {
		t.Errorf("the only secret is dropped: %v", err)
	}

	yes, no := true, false
	if got, _ := changeHook(t, a, w.ID, WebhookChange{Disabled: &yes}); got.Disabled == nil {
		t.Errorf("%+v", got)
	}
	if told, err := a.ToTell(); err != nil || len(told) != 0 {
		t.Errorf("a stopped webhook is told: %v, %v", told, err)
	}
	if moved, err := a.MoveHook("", w.ID, 0, HookState{At: Cursor{w.Entry + 1, 2}, Gone: true, Tries: 3}, &DeadLetter{At: Cursor{1, 0}}); err != nil || !moved {
		t.Fatal(moved, err)
	}
	changeHook(t, a, w.ID, WebhookChange{Disabled: &no})
	if s, err := a.HookState("", w.ID); err != nil || s.Gone || s.Tries != 0 || s.At != (Cursor{w.Entry + 1, 2}) || s.Moves != 2 {
		t.Errorf("let go on: %+v, %v", s, err)
	}
	if told, err := a.ToTell(); err != nil || told[w.ID].Tenant != "archives" {
		t.Errorf("%v, %v", told, err)
	}
	if g, err := a.HookGauges(); err != nil || len(g) != 1 || g[0].Dead != 1 || g[0].Behind == 0 || g[0].Since == nil {
		t.Errorf("%+v, %v", g, err)
	}

	if err := a.RemoveWebhook(ctx, "admin", "", w.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.MoveHook("", w.ID, 2, HookState{}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("who still delivers writes: %v", err)
	}
	err := a.cat.view(func(t *tx) error {
		for _, b := range []bucket{bktHook, bktWebhook} {
			if err := t.scan(b, nil, nil, func(k, _ []byte) (bool, error) { return false, fmt.Errorf("%s keeps %q", b, k) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := a.RemoveWebhook(ctx, "admin", "", w.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	addWebhook(t, a, "gru") // the name is free again
}

// TestWebhookInLedger: each change has its entry, which tells neither name nor address.
func TestWebhookInLedger(t *testing.T) {
	a := newArchive(t, nil)
	w, _ := addWebhook(t, a, "gru")
	changed, _ := changeHook(t, a, w.ID, WebhookChange{Secret: RotateSecret})
	for entry, kind := range map[int64]integrity.Kind{w.Entry: integrity.WebhookAdded, changed.Entry: integrity.WebhookChanged} {
		b, err := a.Entry(entry)
		var e integrity.Entry
		if err == nil {
			e, err = integrity.ParseEntry(b)
		}
		var detail integrity.WebhookDetail
		if err == nil {
			err = e.ReadDetail(kind, &detail)
		}
		if err != nil || detail.Webhook != w.ID || bytes.Contains(b, []byte("gru")) {
			t.Errorf("%s, %v", b, err)
		}
	}
	if events, _, err := a.Feed("", Cursor{w.Entry, 0}, 10); err != nil || len(events) != 0 {
		t.Errorf("it is told: %v, %v", events, err)
	}
}

// TestWebhookAtRest: neither secret nor address lies in a file.
func TestWebhookAtRest(t *testing.T) {
	a := newArchive(t, nil)
	_, secret := addWebhook(t, a, "mon-recepteur")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, hookSecretPrefix))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, said := range [][]byte{raw, []byte(strings.TrimPrefix(secret, hookSecretPrefix)), []byte("gru.example"), []byte("mon-recepteur")} {
			if bytes.Contains(b, said) {
				t.Errorf("%s holds %q", path, said)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWebhookRefusals(t *testing.T) {
	ctx := context.Background()
	a := newArchive(t, func(c string) string {
		return strings.Replace(c, "    agreements:", "    roles: {administrator: [admin]}\n    agreements:", 1)
	})
	w, _ := addWebhook(t, a, "gru")
	for why, n := range map[string]NewWebhook{
		"a name that there is": {Name: "gru", URL: "https://x.example/"},
		"no name":              {URL: "https://x.example/"},
		"a bad name":           {Name: "a b", URL: "https://x.example/"},
		"no address":           {Name: "x"},
		"no https":             {Name: "x", URL: "http://x.example/"},
		"a long address":       {Name: "x", URL: "https://x.example/" + strings.Repeat("a", 2000)},
		"a bad type":           {Name: "x", URL: "https://x.example/", Types: []string{"deposit"}},
		"many types":           {Name: "x", URL: "https://x.example/", Types: strings.Fields(strings.Repeat("sae.deposit ", 51))},
		"nobody's":             {Tenant: "nobody", Name: "x", URL: "https://x.example/"},
	} {
		if _, _, err := a.AddWebhook(ctx, "admin", n); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", why, err)
		}
	}
	bad := "ftp://x.example/"
	for _, c := range []WebhookChange{{}, {URL: &bad}, {Types: &[]string{"x"}}, {Secret: "again"}} {
		if _, _, err := a.ChangeWebhook(ctx, "admin", "", w.ID, c); !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, _, err := a.AddWebhook(ctx, "mallory", NewWebhook{Name: "x", URL: "https://x.example/"}); !errors.Is(err, ErrRefused) {
		t.Errorf("who is no administrator adds: %v", err)
	}
	if err := a.RemoveWebhook(ctx, "mallory", "", w.ID); !errors.Is(err, ErrRefused) {
		t.Errorf("who is no administrator removes: %v", err)
	}
	for i := range maxWebhooks - 1 {
		addWebhook(t, a, fmt.Sprint("n", i))
	}
	if _, _, err := a.AddWebhook(ctx, "admin", NewWebhook{Name: "x", URL: "https://x.example/"}); !errors.Is(err, ErrRefused) {
		t.Errorf("one too many: %v", err)
	}
}

// TestMoveHook: who moves a webhook while another does is told so, and changes nothing.
func TestMoveHook(t *testing.T) {
	ctx := context.Background()
	a := newArchive(t, nil)
	w, _ := addWebhook(t, a, "gru")
	dead := &DeadLetter{At: Cursor{3, 1}, ID: "3"}
	for _, x := range []struct {
		from int64
		want bool
	}{{0, true}, {0, false}, {1, true}} {
		if moved, err := a.MoveHook("", w.ID, x.from, HookState{At: Cursor{x.from + 5, 0}}, dead); err != nil || moved != x.want {
			t.Errorf("from %d: %v, %v", x.from, moved, err)
		}
	}
	if err := a.ReplayHook(ctx, "", w.ID, Cursor{1, 0}); err != nil {
		t.Error(err)
	}
	if err := a.ReplayHook(ctx, "", w.ID, Cursor{1 << 40, 0}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if s, err := a.HookState("", w.ID); err != nil || s.At != (Cursor{1, 0}) || s.Moves != 3 {
		t.Errorf("%+v %v", s, err)
	}
	for round, want := range []int{1, 0} {
		if n, err := a.ReplayLetters(ctx, "", w.ID); err != nil || n != want {
			t.Errorf("round %d: %d %v", round, n, err)
		}
		if err := a.DropLetter("", w.ID, dead.At); err != nil {
			t.Error(err)
		}
	}
}
