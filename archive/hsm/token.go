//go:build cgo

package hsm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

// A module is initialised once in a process, whoever uses it (PKCS#11 v2.40, section 5.4): those
// that are in use are known here, and the last to close one finalizes it.
var modules = struct {
	mu   sync.Mutex
	open map[string]*module
}{open: map[string]*module{}}

type module struct {
	ctx  *pkcs11.Ctx
	uses int
}

func load(path string) (*module, error) {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m := modules.open[path]; m != nil {
		m.uses++
		return m, nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("PKCS#11 module: %w; install it, or mend the path", err)
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("PKCS#11 module %s cannot be loaded: it is no PKCS#11 library for this machine, or lacks libraries of its own (ldd shows them)", path)
	}
	if err := ctx.Initialize(); err != nil {
		ctx.Destroy()
		return nil, fmt.Errorf("PKCS#11 module %s: initialising: %w", path, err)
	}
	m := &module{ctx, 1}
	modules.open[path] = m
	return m, nil
}

func unload(path string) error {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	m := modules.open[path]
	if m.uses--; m.uses > 0 {
		return nil
	}
	delete(modules.open, path)
	err := m.ctx.Finalize()
	m.ctx.Destroy()
	return err
}

// Token is a session with a token. It is used by one goroutine at a time.
type Token struct {
	config  Config
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
}

// Open opens a session as the user whose PIN the configuration names; without write it changes
// nothing.
func Open(c Config, write bool) (*Token, error) {
	pin, err := c.pin()
	if err != nil {
		return nil, err
	}
	m, err := load(c.Module)
	if err != nil {
		return nil, err
	}
	t := &Token{config: c, ctx: m.ctx}
	if err := t.open(pin, write); err != nil {
		return nil, errors.Join(err, unload(c.Module))
	}
	return t, nil
}

func (t *Token) open(pin string, write bool) error {
	slot, err := t.find()
	if err != nil {
		return err
	}
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if write {
		flags |= pkcs11.CKF_RW_SESSION
	}
	if t.session, err = t.ctx.OpenSession(slot, flags); err != nil {
		return t.wrap("opening a session", err)
	}
	err = t.ctx.Login(t.session, pkcs11.CKU_USER, pin)
	switch pkcs11.Error(code(err)) {
	case pkcs11.CKR_OK, pkcs11.CKR_USER_ALREADY_LOGGED_IN: // by another session of this process
		return nil
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_INVALID:
		err = fmt.Errorf("token %q refuses the PIN in %s: write the right one into it; tokens lock after some wrong ones", t.config.Token, t.config.PIN)
	case pkcs11.CKR_PIN_LOCKED:
		err = fmt.Errorf("token %q is locked after wrong PINs: its security officer can set a new one", t.config.Token)
	default:
		err = t.wrap("logging in", err)
	}
	return errors.Join(err, t.ctx.CloseSession(t.session))
}

// find gives the slot of the token.
func (t *Token) find() (slot uint, err error) {
	slots, err := t.ctx.GetSlotList(true)
	if err != nil {
		return 0, t.wrap("listing tokens", err)
	}
	var found []uint
	var others []string
	for _, s := range slots {
		info, err := t.ctx.GetTokenInfo(s)
		switch {
		case err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0:
		case info.Label == t.config.Token:
			found = append(found, s)
		default:
			others = append(others, fmt.Sprintf("%q", info.Label))
		}
	}
	switch {
	case len(found) > 1:
		return 0, fmt.Errorf("PKCS#11 module %s has %d tokens labelled %q: give each a label of its own", t.config.Module, len(found), t.config.Token)
	case len(found) == 1:
		return found[0], nil
	case len(others) == 0:
		return 0, fmt.Errorf("PKCS#11 module %s has no token: plug %q in, or see its own configuration", t.config.Module, t.config.Token)
	}
	return 0, fmt.Errorf("PKCS#11 module %s has no token labelled %q: plug it in, or mend the label; it has %s", t.config.Module, t.config.Token, strings.Join(others, ", "))
}

// code is the return value of a call.
func code(err error) uint {
	var e pkcs11.Error
	switch {
	case err == nil:
		return pkcs11.CKR_OK
	case errors.As(err, &e):
		return uint(e)
	}
	return pkcs11.CKR_GENERAL_ERROR
}

func (t *Token) wrap(doing string, err error) error {
	return fmt.Errorf("token %q: %s: %w", t.config.Token, doing, err)
}

// Close ends the session, and the login with the last one of the process.
func (t *Token) Close() error {
	err := t.ctx.CloseSession(t.session)
	return errors.Join(err, unload(t.config.Module))
}

func keyTemplate(label string) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
}

// Generate makes an AES-256 key in the token that nobody can read out, durable on return.
func (t *Token) Generate(label string) error {
	if _, err := t.key(label); !errors.Is(err, ErrNoKey) {
		if err == nil {
			err = fmt.Errorf("token %q: making key %s: the label is taken", t.config.Token, label)
		}
		return err
	}
	_, err := t.ctx.GenerateKey(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, append(keyTemplate(label),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true)))
	if err != nil {
		return t.wrap("making key "+label, err)
	}
	return nil
}

// key finds the key of a label.
func (t *Token) key(label string) (pkcs11.ObjectHandle, error) {
	found, err := t.search(keyTemplate(label))
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, fmt.Errorf("token %q: key %s: %w", t.config.Token, label, ErrNoKey)
	case len(found) > 1:
		return 0, fmt.Errorf("token %q: there are %d keys %s: somebody copied one", t.config.Token, len(found), label)
	}
	return found[0], nil
}

func (t *Token) search(template []*pkcs11.Attribute) (found []pkcs11.ObjectHandle, err error) {
	if err := t.ctx.FindObjectsInit(t.session, template); err != nil {
		return nil, t.wrap("looking for keys", err)
	}
	for {
		some, _, err := t.ctx.FindObjects(t.session, 64)
		if err != nil || len(some) == 0 {
			if err = errors.Join(err, t.ctx.FindObjectsFinal(t.session)); err != nil {
				return nil, t.wrap("looking for keys", err)
			}
			return found, nil
		}
		found = append(found, some...)
	}
}

const (
	nonceSize = 12
	tagBits   = 128
)

// Wrap enciphers under a key: a nonce of 12 bytes, then AES-256-GCM (CKM_AES_GCM) with the
// associated data. The nonce is drawn here; a token that insists on its own is heeded.
func (t *Token) Wrap(label string, ad, plain []byte) ([]byte, error) {
	key, err := t.key(label)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	params := pkcs11.NewGCMParams(nonce, ad, tagBits)
	defer params.Free()
	err = t.ctx.EncryptInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, key)
	var sealed []byte
	if err == nil {
		sealed, err = t.ctx.Encrypt(t.session, plain)
	}
	if err != nil {
		return nil, t.wrap("wrapping under key "+label+" (AES-GCM)", err)
	}
	if used := params.IV(); len(used) == nonceSize {
		nonce = used
	}
	return append(nonce, sealed...), nil
}

// Unwrap opens what Wrap made. Errors match ErrNoKey and ErrWrapped.
func (t *Token) Unwrap(label string, ad, wrapped []byte) ([]byte, error) {
	key, err := t.key(label)
	if err != nil {
		return nil, err
	}
	if len(wrapped) <= nonceSize {
		return nil, t.wrap("unwrapping under key "+label, ErrWrapped)
	}
	params := pkcs11.NewGCMParams(wrapped[:nonceSize], ad, tagBits)
	defer params.Free()
	if err := t.ctx.DecryptInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, key); err != nil {
		return nil, t.wrap("unwrapping under key "+label+" (AES-GCM)", err)
	}
	plain, err := t.ctx.Decrypt(t.session, wrapped[nonceSize:])
	switch code(err) {
	case pkcs11.CKR_OK:
		return plain, nil
	case pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_GENERAL_ERROR: // the last is SoftHSM's for a wrong tag
		err = fmt.Errorf("%w (%w)", ErrWrapped, err)
	}
	return nil, t.wrap("unwrapping under key "+label, err)
}

// Labels gives the labels of the keys that begin with a prefix.
func (t *Token) Labels(prefix string) (labels []string, err error) {
	found, err := t.search([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true)})
	if err != nil {
		return nil, err
	}
	for _, key := range found {
		a, err := t.ctx.GetAttributeValue(t.session, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		if err != nil {
			return nil, t.wrap("reading the label of a key", err)
		}
		if label := string(a[0].Value); strings.HasPrefix(label, prefix) {
			labels = append(labels, label)
		}
	}
	return labels, nil
}

// Destroy destroys a key for good, and looks whether it is gone.
func (t *Token) Destroy(label string) error {
	key, err := t.key(label)
	if err != nil {
		return err
	}
	if err := t.ctx.DestroyObject(t.session, key); err != nil {
		return t.wrap("destroying key "+label, err)
	}
	if _, err := t.key(label); !errors.Is(err, ErrNoKey) {
		return errors.Join(fmt.Errorf("token %q: key %s was destroyed, and is still there", t.config.Token, label), err)
	}
	return nil
}
