package archive

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/vault"
	"sae/integrity"
	"sae/integrity/tsp"
	"sae/retention"
)

// New says what a new archive is called.
type New struct {
	Tenant     string // code of the first archival agency; "archives" when empty
	TenantName string
	// AcceptUnknown is what SEDA transfers may name that the configuration does not list
	// (Tenant.AcceptUnknown).
	AcceptUnknown []string
	Origin        string // name of the ledger; drawn when empty
	// PKCS11 is the token that keeps the root key; the file of its slot does when it is nil.
	PKCS11 *hsm.Config
	FS     durable.FS
}

const (
	tsaKeyFile  = "keys/tsa.key"
	tsaCertFile = "keys/tsa.pem"
	tsaCAFile   = "keys/tsa-ca.pem"
	tsaCRLFile  = "keys/tsa-ca.crl"
)

// Create makes an archive in dir, which must not hold one: keys, offers, an
// empty catalogue and, last, the configuration file, which makes it an archive.
// When it fails, what it made is removed again.
func Create(dir string, n New) (*Config, error) {
	if err := refuseExisting(dir); err != nil {
		return nil, err
	}
	if n.Tenant == "" {
		n.Tenant = "archives"
		if n.TenantName == "" {
			n.TenantName = "Archives"
		}
	}
	id := newID("a")
	if n.Origin == "" {
		n.Origin = "sae.invalid/" + id
	}
	text, err := newConfigFile(id, n)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("creating archive: %w", err)
	}
	c := creation{New: n, dir: dir, id: id}
	if err := c.run(config, text); err != nil {
		c.undo()
		if n.PKCS11 != nil {
			err = errors.Join(err, c.place().undo())
		}
		return nil, fmt.Errorf("creating archive in %s: %w", dir, err)
	}
	return LoadConfig(dir)
}

func refuseExisting(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, ConfigName)); err == nil {
		return fmt.Errorf("%s holds an archive: %w", dir, ErrExists)
	}
	names, err := os.ReadDir(dir)
	if err == nil && len(names) > 0 {
		return fmt.Errorf("%s is not empty: give an empty or a new folder: %w", dir, ErrExists)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("creating archive: %w", err)
	}
	return nil
}

type creation struct {
	New
	dir, id string
	madeDir bool
}

func (c *creation) run(config *Config, text []byte) error {
	_, err := os.Lstat(c.dir)
	c.madeDir = errors.Is(err, os.ErrNotExist)
	for _, d := range []string{"keys", "offers"} {
		if err := c.FS.MkdirAll(filepath.Join(c.dir, d), 0o700); err != nil {
			return err
		}
	}
	var root [32]byte
	rand.Read(root[:])
	signer, vkey, err := c.keys(root)
	if err != nil {
		return err
	}
	for _, o := range config.Offers {
		if err := blobs.CreateDir(c.FS, within(c.dir, o.Path), o.mark(c.id)); err != nil {
			return err
		}
	}
	signed, err := c.catalogue(config, vault.New(root), signer, vkey)
	if err != nil {
		return err
	}
	if err := durable.CreateSlot(c.FS, within(c.dir, config.Slots.Checkpoint), 0o600, signed); err != nil {
		return err
	}
	return c.FS.WriteFile(filepath.Join(c.dir, ConfigName), text, 0o600)
}

// place is where the root key comes.
func (c *creation) place() rootPlace {
	return rootPlace{fs: c.FS, path: filepath.Join(c.dir, "keys/root"), archive: c.id, token: c.PKCS11}
}

// keys draws the root key, the ledger's key and the embedded authority's.
func (c *creation) keys(root [32]byte) (note.Signer, string, error) {
	if err := c.place().create(root); err != nil {
		return nil, "", err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, c.Origin)
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, "", err
	}
	tsa, err := tsp.NewLocal("SAE "+c.id, time.Now())
	if err != nil {
		return nil, "", err
	}
	files, err := tsa.PEM()
	if err != nil {
		return nil, "", err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{ledgerKeyFile, []byte(skey + "\n")}, {ledgerPubFile, []byte(vkey + "\n")},
		{tsaKeyFile, files.Key}, {tsaCertFile, files.Certificate}, {tsaCAFile, files.Root}, {tsaCRLFile, files.CRL},
	} {
		if err := c.FS.WriteFile(filepath.Join(c.dir, f.name), f.data, 0o600); err != nil {
			return nil, "", err
		}
	}
	return signer, vkey, nil
}

// catalogue makes the catalogue with the first ledger entry, and gives the first
// signed checkpoint.
func (c *creation) catalogue(config *Config, v *vault.Vault, signer note.Signer, vkey string) (signed []byte, err error) {
	cat, err := createCatalogue(filepath.Join(c.dir, catalogueFile))
	if err != nil {
		return nil, err
	}
	defer cat.close()
	a := &Archive{state: &state{config: config, cat: cat, vault: v, signer: signer}}
	var indexKey, spoolKey [32]byte
	rand.Read(indexKey[:])
	rand.Read(spoolKey[:])
	op := &operation{
		id:    newID(opID),
		entry: integrity.Entry{Kind: integrity.Created, Tenant: config.Tenants[0].ID, Agent: agentID(indexKey, "")},
		keys:  [][32]byte{indexKey, spoolKey},
		detail: func(position) any {
			digest := integrity.Hash(retention.NewSchedule(firstRules()).Digest())
			return integrity.CreatedDetail{LedgerKey: vkey, Schedule: &digest}
		},
		records: []func(position) []record{ruleRows(config.Tenants[0].ID, firstRules()), func(p position) []record {
			return []record{{bktMeta, metaAccesses, mustJSON(accessState{Key: p.key + 1})}}
		}},
	}
	err = cat.update(func(t *tx) error {
		w, err := a.beginLedger(t)
		if err != nil {
			return err
		}
		if _, err := a.apply(t, w, op); err != nil {
			return err
		}
		_, signed, err = w.finish()
		return err
	})
	if err != nil {
		return nil, err
	}
	return signed, c.FS.SyncDir(c.dir)
}

// undo removes what an unfinished creation left.
func (c *creation) undo() {
	if c.madeDir {
		os.RemoveAll(c.dir)
		return
	}
	for _, name := range []string{"keys", "offers", catalogueFile, ConfigName} {
		os.RemoveAll(filepath.Join(c.dir, name))
	}
}

// keyedHash is how indexes name a value: nobody without the key can tell whether
// a guess is right.
func keyedHash(key [32]byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key[:])
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)
}

// agentID is the pseudonym of who acts, in ledger entries; "" is the program itself.
func agentID(key [32]byte, name string) string {
	sum := keyedHash(key, "agent", name)
	return "a" + strings.ToLower(base32.StdEncoding.EncodeToString(sum)[:26])
}
