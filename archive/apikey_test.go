package archive

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sae/integrity"
)

func newAPIKey(t *testing.T, a *Archive) (*APIKey, string) {
	t.Helper()
	k, secret, err := a.CreateAPIKey(context.Background(), "admin", NewAPIKey{Name: "téléprocédure-mdph", Roles: []Role{Depositor}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return k, secret
}

func TestAPIKey(t *testing.T) {
	a := newArchive(t, nil)
	k, secret := newAPIKey(t, a)
	got, err := a.APIKeyOf(secret)
	if err != nil || got.ID != k.ID || got.Name != "téléprocédure-mdph" || len(got.Roles) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	last := secret[len(secret)-2:]
	other := "AA"
	if last == other {
		other = "BA"
	}
	for _, bad := range []string{"", "sae_", secret[:len(secret)-1], secret + "A", secret[:len(secret)-2] + other, strings.Replace(secret, k.ID, newID(apiKeyID), 1), strings.TrimPrefix(secret, "sae_")} {
		if _, err := a.APIKeyOf(bad); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := a.RevokeAPIKey(context.Background(), "admin", "", k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.APIKeyOf(secret); !errors.Is(err, ErrBadKey) {
		t.Errorf("a revoked key: %v", err)
	}
	if _, err := a.RevokeAPIKey(context.Background(), "admin", "", k.ID); !errors.Is(err, ErrRefused) {
		t.Errorf("revoked twice: %v", err)
	}
	b, _ := a.Entry(k.Entry)
	e, err := integrity.ParseEntry(b)
	var detail integrity.APIKeyDetail
	if err == nil {
		err = e.ReadDetail(integrity.APIKeyCreated, &detail)
	}
	if err != nil || detail.Key != k.ID || detail.Roles[0] != "depositor" {
		t.Errorf("%+v, %v", detail, err)
	}
}

// TestAPIKeyAtRest: neither the key nor the name of who acts by it lies in a file.
func TestAPIKeyAtRest(t *testing.T) {
	a := newArchive(t, nil)
	_, secret := newAPIKey(t, a)
	random := strings.SplitN(secret, "_", 3)[2] // which may have more of them
	err := filepath.WalkDir(a.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(random)) || bytes.Contains(b, []byte("téléprocédure-mdph")) {
			t.Errorf("%s holds the key, or its name", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPIKeyRefusals(t *testing.T) {
	a := newArchive(t, func(c string) string {
		return strings.Replace(c, "    agreements:", "    roles: {administrator: [admin]}\n    agreements:", 1)
	})
	good := NewAPIKey{Name: "x", Roles: []Role{Depositor}, Expires: time.Now().Add(time.Hour)}
	for why, n := range map[string]NewAPIKey{
		"no name":     {Roles: good.Roles, Expires: good.Expires},
		"no role":     {Name: "x", Expires: good.Expires},
		"no such":     {Name: "x", Roles: []Role{"king"}, Expires: good.Expires},
		"is past":     {Name: "x", Roles: good.Roles, Expires: time.Now().Add(-time.Minute)},
		"for ever":    {Name: "x", Roles: good.Roles, Expires: time.Now().AddDate(9, 0, 0)},
		"not at all":  {Name: "x", Roles: good.Roles},
		"of nobody's": {Tenant: "nobody", Name: "x", Roles: good.Roles, Expires: good.Expires},
	} {
		if _, _, err := a.CreateAPIKey(context.Background(), "admin", n); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, _, err := a.CreateAPIKey(context.Background(), "mallory", good); !errors.Is(err, ErrRefused) {
		t.Errorf("who is no administrator: %v", err)
	}
}

func TestTenantOf(t *testing.T) {
	a := newArchive(t, nil)
	d := deposit(t, a, NewUnit{Parent: -1, Title: "T", Channel: Digital, Content: text("a.txt", "x")})
	for _, id := range []string{d.Units[0].ID, d.Units[0].Objects[0].ID} {
		if of, err := a.TenantOf(id); of != "archives" || err != nil {
			t.Errorf("%s: %q, %v", id, of, err)
		}
	}
	if _, err := a.TenantOf(newID(unitID)); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestTileAsExported: what is asked for one by one is what is exported.
func TestTileAsExported(t *testing.T) {
	a := newArchive(t, nil)
	for range 3 {
		deposit(t, a, NewUnit{Parent: -1, Title: "T", Channel: Digital, Content: text("a.txt", "x")})
	}
	dir := t.TempDir()
	if _, err := a.ExportTiles(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		got, err := a.Tile(filepath.ToSlash(rel))
		if want := readFile(t, path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v, want %x", rel, got, err, want)
		}
		n++
		return nil
	})
	if err != nil || n < 2 {
		t.Errorf("%d tiles, %v", n, err)
	}
	for _, bad := range []string{"", "tile/", "tile/0/000", "tile/0/001.p/9", "tile/9/000.p/1", "tile/entries/000", "tile/8/0/000.p/1", "tile/0/x999/x999/x999/x999/999.p/1", "../checkpoint"} {
		if _, err := a.Tile(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
