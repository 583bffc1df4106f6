package archive

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"sae/archive/vault"
)

// The small files without which an archive is not one, its configuration and its keys but
// the root key, are kept in the catalogue too, enciphered under a key that hangs from the
// root: with the catalogue they are in every offer.

// filePrefix begins the names of their rows.
const filePrefix = "file "

// maxFile bounds such a file, in bytes.
const maxFile = 1 << 20

func fileKey(indexKey [32]byte) [32]byte { return vault.Derive(indexKey, "sae file") }

// keptFiles are their paths in the archive's folder.
func (a *Archive) keptFiles() []string {
	out := []string{ConfigName, ledgerKeyFile, ledgerPubFile, tsaKeyFile, tsaCertFile, tsaCAFile, tsaCRLFile}
	for _, path := range a.config.named() {
		if rel, err := filepath.Rel(a.dir, path); err == nil && filepath.IsLocal(rel) && !slices.Contains(out, rel) {
			out = append(out, rel)
		}
	}
	return out
}

// named are the files that the configuration names: those in the archive's folder go where it goes. What
// opens the token that keeps the root key is not among them.
func (c *Config) named() (out []string) {
	for _, a := range c.Authority {
		out = append(out, a.Roots, a.Password)
	}
	for _, t := range c.Tenants {
		out = append(out, t.Formats)
		for _, version := range slices.Sorted(maps.Keys(t.Schemas)) {
			out = append(out, t.Schemas[version])
		}
	}
	for _, o := range c.Offers {
		if o.S3 != nil {
			out = append(out, o.S3.CA)
		}
	}
	if s := c.Serve; s != nil {
		out = append(out, s.Cert, s.Key, s.ClientCA, s.Webhooks.CA)
		for _, i := range s.Issuers {
			out = append(out, i.CA)
		}
	}
	return slices.DeleteFunc(out, func(path string) bool { return path == "" })
}

// keepFiles puts what has changed of them into the catalogue.
func (a *Archive) keepFiles() error {
	changed := map[string][]byte{}
	for _, name := range a.keptFiles() {
		b, err := os.ReadFile(filepath.Join(a.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && len(b) > maxFile {
			err = fmt.Errorf("%s has %d bytes, more than %d", name, len(b), maxFile)
		}
		if err != nil {
			return fmt.Errorf("keeping a copy of %s: %w", name, err)
		}
		kept, err := a.keptFile(name)
		if err != nil || !bytes.Equal(kept, b) {
			changed[name] = b
		}
	}
	if len(changed) == 0 {
		return nil
	}
	err := a.update(nil, func(t *tx) error {
		for name, b := range changed {
			if err := t.put(bktMeta, []byte(filePrefix+name), vault.Seal(fileKey(a.indexKey), []byte(name), b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping copies of configuration and keys: %w", err)
	}
	return nil
}

// keptFile gives the kept content of a file, nil when there is none.
func (a *Archive) keptFile(name string) (b []byte, err error) {
	err = a.cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, []byte(filePrefix+name))
		if err == nil && v != nil {
			b, err = vault.Open(fileKey(a.indexKey), []byte(name), v)
		}
		return err
	})
	return b, err
}
